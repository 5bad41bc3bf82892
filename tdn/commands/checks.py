"""Checks of options that several commands have."""

from __future__ import annotations

from pathlib import Path

from tdn.errors import UserError


def check_least(option: str, value: int | None, least: int = 1) -> None:
    """Refuse a number that is too small; None is one that was not given.

    Raises:
        UserError: Names the option.
    """
    if value is not None and value < least:
        raise UserError(f"--{option}: {value} does not fit; give a whole number from {least}")


def file_named(option: str, name: str, *endings: str) -> Path:
    """A file to write, whose name says in what form.

    Raises:
        UserError: Names the option, and how the name may end.
    """
    path = Path(name)
    if path.suffix.lower() not in endings:
        known = ", ".join(endings[:-1]) + " or " * (len(endings) > 1) + endings[-1]
        raise UserError(f"--{option}: '{name}' does not fit; give a file name that ends in {known}")
    return path
