"""Commands that mend an installation."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import tdn

ROOT = Path(tdn.__file__).parents[1]
"""The checkout, where there is one."""
CUDA_WHEELS = "https://download.pytorch.org/whl/cu130"
"""Where torch's builds for CUDA 13 are, whatever index pip is set to."""


def pip(*words: str) -> str:
    """A call of pip for the Python that runs this, with the tested versions if they are at hand."""
    return shlex.join(["python" if _is_running("python") else sys.executable, "-m", "pip", *words])


def install(*requirements: str, again: bool = False) -> str:
    """The command that installs packages, such as "av>=14".

    Args:
        requirements: What to install; nothing for the product with all it needs.
        again: Whether to replace what is there already.
    """
    tested = ROOT / "constraints.txt"
    words = ["install"]
    words += ["--force-reinstall", "--no-deps"] if again else []
    words += ["--constraint", os.path.relpath(tested)] if tested.exists() else []
    if not requirements:
        requirements = ("--editable", os.path.relpath(ROOT)) if tested.exists() else ("tdn",)
    return pip(*words, *requirements)


def _is_running(command: str) -> bool:
    """Whether a command is the Python that runs this, in the same environment."""
    here = shutil.which(command)
    return (
        here is not None
        and Path(here).parent == Path(sys.executable).parent
        and Path(here).resolve() == Path(sys.executable).resolve()
    )
