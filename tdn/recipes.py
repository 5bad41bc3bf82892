"""The recipes of ``configs/``, which are installed with the package: they work from any folder."""

from __future__ import annotations

from pathlib import Path

RECIPES = Path(__file__).parent / "configs"
"""In a checkout, a link to ``configs/``."""


def find_recipe(path: str | Path) -> Path:
    """A file as it is named; where ``configs/NAME`` is not there, the installed one of that name.

    Args:
        path: Of a configuration, or of the file of claims.
    """
    path = Path(path)
    installed = RECIPES / path.name
    if path.parent == Path("configs") and not path.exists() and installed.is_file():
        return installed
    return path
