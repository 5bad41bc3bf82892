"""What a check found, as one line and, where something is to be done, what to type."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fail"]
"""ok; warn: works, but not as well as it could; fail: training would stop or never start."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    name: str
    """What it is about, in a word or two."""
    found: str
    """What was found, on one line."""
    remedy: str = ""
    """What to type, or to change; empty where all is well."""

    def __str__(self) -> str:
        line = f"{self.level:<4}  {self.name:<20} {self.found}"
        return f"{line}\n      -> {self.remedy}" if self.remedy else line


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", name, _one_line(found))


def warn(name: str, found: str, remedy: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding("warn", name, _one_line(found), _one_line(remedy))


def fail(name: str, found: str, remedy: str) -> Finding:
    """Training would stop, or never start."""
    return Finding("fail", name, _one_line(found), _one_line(remedy))


def mistake(name: str, error: Exception) -> Finding:
    """What the product says of a user's mistake: "what is wrong; what to do"."""
    found, _, remedy = str(error).partition("; ")
    return fail(name, found, remedy or "correct it")


def _one_line(text: str) -> str:
    return " ".join(text.split())
