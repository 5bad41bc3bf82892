"""Rows of a data set before any video is opened: which files, which labels."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError

VIDEOS = (
    *(".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".asf", ".flv", ".ivf", ".mxf", ".ogv", ".vob", ".wmv", ".y4m"),
)
"""Endings of videos, in lower case."""


class Member(NamedTuple):
    """Part of a tar shard: a video, or the pictures that are its frames."""

    name: str
    offsets: list[int]
    """Where the file starts, or each picture."""
    sizes: list[int]
    """The bytes of each."""
    pictures: bool
    problem: str = ""
    """Why it cannot be used, in a few words, as far as the names of the pictures show."""


@dataclass
class Listing:
    """Rows of a data set, column by column."""

    root: Path
    """Folder that relative paths are relative to."""
    paths: list[str]
    """As written; a file, a folder of frames, or a tar shard."""
    labels: list[int]
    lines: list[int]
    """Line number in the list, from 1; in a folder or in shards the row's number, from 1."""
    classes: tuple[str, ...] = ()
    """Names of the labels 0, 1, ...; empty where labels are given as numbers."""
    members: list[Member] = field(default_factory=list)
    """For tar shards, what of the shard each row is; else empty."""
    found: bool = False
    """Whether the paths were found on the disk, so that another root makes no sense."""


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file: one per line, the first is label 0.

    Raises:
        UserError: The file cannot be read, is empty, or names a class twice.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file of class names; correct data.classes or --classes")
    lines = read_text(Path(path)).splitlines()
    names = tuple(" ".join(line.split()) for line in lines if line.strip())
    if not names:
        raise UserError(f"{path}: is empty; give a class name on each line, in order of label")
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise UserError(f"{path}: names '{twice}' twice; drop one of the lines")
    return names


# "3.0" is what tables make of a column of whole numbers with a gap in it.
_LABEL = re.compile(r"([0-9]{1,9})(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?", re.I)


def numbered(
    names: Sequence[str], where: Callable[[int], str], classes: Sequence[str] = ()
) -> tuple[list[int], tuple[str, ...]]:
    """Labels of class names.

    Args:
        names: One per row. Where all are numbers, and the given classes are not, they are the
            labels themselves.
        where: Says where a row stands, for messages.
        classes: Names by label; by default the different names, sorted.

    Returns:
        The labels, and the class names (none where the rows give numbers and no classes are given).

    Raises:
        UserError: A name is not among the given classes, a number is no label, or some rows give
            names and some numbers.
    """
    different = list(dict.fromkeys(names))
    if all(map(_is_number, different)) and not any(map(_is_number, classes)):
        last = len(classes) - 1 if classes else 999_999_999
        found = {name: match for name in different if (match := _LABEL.fullmatch(name))}
        table = {name: int(match[1]) for name, match in found.items() if int(match[1]) <= last}
        need = f"a label from 0 to {last}; correct the row"
    elif any(map(_is_number, different)) and not classes:
        first = _is_number(different[0])
        table = {name: 0 for name in different if _is_number(name) == first}
        need = f"a {'number' if first else 'name'} like those before; give only one of the two"
    else:
        classes = tuple(classes) or tuple(sorted(different))
        table = {name: label for label, name in enumerate(classes)}
        need = f"among the {len(classes)} of data.classes; correct the row or the file of names"
    wrong = next((name for name in different if name not in table), None)
    if wrong is not None:
        raise UserError(f"{where(names.index(wrong))}: '{wrong}' is not {need}")
    return [table[name] for name in names], tuple(classes)


def _is_number(name: str) -> bool:
    return _NUMBER.fullmatch(name) is not None


def is_storable(path: str) -> bool:
    """Whether text can be a path in a manifest: a line of UTF-8, for a file's name may be more."""
    if any(mark in path for mark in "\0\n\r"):
        return False
    # Bytes that are no UTF-8 come from the file system as halves of characters.
    return path.isascii() or not re.search("[\ud800-\udfff]", path)


def read_text(path: Path) -> str:
    """A list's text.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such list file; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a file") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: is not text in UTF-8; give a list of 'path label' lines, or save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
