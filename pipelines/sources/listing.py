"""Rows of a data set before any video is opened: which files, which labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError


class Member(NamedTuple):
    """Part of a tar shard: a video, or the pictures that are its frames."""

    name: str
    offsets: list[int]
    """Where the file starts, or each picture."""
    sizes: list[int]
    """The bytes of each."""
    pictures: bool


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


def read_listing(source: str | Path, classes: Sequence[str] = ()) -> Listing:
    """Read a data set's rows.

    Args:
        source: A text list (``path label`` or ``path frames label`` lines), a CSV file with a
            header, a folder with one folder per class, or tar shards (``train-{000..031}.tar``, or
            a pattern such as ``train-*.tar``).
        classes: Class names by label, for sources that give names; by default the source's own
            names, sorted.

    Raises:
        UserError: The source cannot be read, or a row of it cannot be understood.
    """
    # Imported here because each of them makes a Listing.
    from tdn.pipelines.sources.class_folders import read_class_folders
    from tdn.pipelines.sources.csv_lists import is_csv, read_csv_list
    from tdn.pipelines.sources.shards import are_shards, read_shards
    from tdn.pipelines.sources.text_lists import read_text_list

    if are_shards(source):
        return read_shards(str(source), classes)
    path = Path(source)
    if path.is_dir():
        return read_class_folders(path, classes)
    read: Callable[[Path, Sequence[str]], Listing]
    read = read_csv_list if is_csv(path) else read_text_list
    return read(path, classes)


def read_class_names(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file: one per line, the first is label 0.

    Raises:
        UserError: The file cannot be read, is empty, or names a class twice.
    """
    lines = read_text(Path(path)).splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(f"{path}: is empty; give a class name on each line, in order of label")
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise UserError(f"{path}: names '{twice}' twice; drop one of the lines")
    return names


def numbered(
    names: Sequence[str], where: Callable[[int], str], classes: Sequence[str] = ()
) -> tuple[list[int], tuple[str, ...]]:
    """Labels of class names.

    Args:
        names: One per row; where every one is a whole number, that is the label.
        where: Says where a row stands, for messages.
        classes: Names by label; by default the different names, sorted.

    Returns:
        The labels, and the class names (none where the names are numbers).

    Raises:
        UserError: A name is not among the given classes.
    """
    if not classes and all(_is_label(name) for name in names):
        return [int(name) for name in names], ()
    classes = tuple(classes) or tuple(sorted(set(names)))
    number = {name: label for label, name in enumerate(classes)}
    labels = []
    for row, name in enumerate(names):
        if name not in number:
            raise UserError(
                f"{where(row)}: class '{name}' is not among the {len(classes)} of data.classes; "
                "correct the row or the file of names"
            )
        labels.append(number[name])
    return labels, classes


def _is_label(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 9


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
        raise UserError(f"{path}: is not a text file; give a list of 'path label' lines") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
