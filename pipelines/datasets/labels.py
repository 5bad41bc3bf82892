"""What the label files of a data set say, whatever their format."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tdn.errors import UserError
from tdn.pipelines.sources.listing import is_storable, read_text

ClassNumber = Callable[[str, str], int]
"""Gives the label of a class, by its name and where that stands."""


class Row(NamedTuple):
    """A clip that a label file names."""

    clip: str
    """Name of its video without the ending, or of its folder of frames."""
    label: int | None
    """None where the data set's owner keeps it secret."""
    folder: str = ""
    """Name of the folder it lies in, where several clips have the same name."""

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.folder}/{self.clip}" if self.folder else self.clip


@dataclass(frozen=True)
class Labels:
    """Classes and clips of a data set."""

    classes: tuple[str, ...]
    """Names of the labels 0, 1, ..."""
    parts: dict[str, list[Row]]
    """Clips in the order of their file, by what they are for: train, validation, perhaps test."""


class LabelFiles:
    """A data set's label files, in whichever of some folders they lie.

    Args:
        folders: Where to look, one after the other.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def find(self, *names: str) -> Path | None:
        """A file that may have several names, if it is there."""
        paths = (folder / name for folder in self.folders for name in names)
        return next((path for path in paths if path.is_file()), None)

    def get(self, *names: str) -> Path:
        """A file that may have several names.

        Raises:
            UserError: It is nowhere.
        """
        found = self.find(*names)
        if found is None:
            raise self.missing(" or ".join(names))
        return found

    def missing(self, what: str) -> UserError:
        """The mistake that something is in none of the folders."""
        first, *others = (str(folder) for folder in self.folders)
        where = f"{first} (nor in {', '.join(others)})" if others else first
        return UserError(
            f"{where}: holds no {what}; unpack the data set's label files there, or give their "
            "folder with --labels"
        )


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that hold something, each with where it stands."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: It is none.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{line}: is not valid JSON; unpack or download it again") from None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Some columns of a CSV file with a header, row by row, each with where it stands.

    Raises:
        UserError: A column is missing, or the file is no CSV.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        lacking = [name for name in columns if name not in header]
        if lacking:
            raise UserError(f"{path}: its header has no column '{lacking[0]}'; take the owner's")
        for row in filter(any, reader):
            where = f"{path}:{reader.line_num}"
            if len(row) < len(header):
                raise UserError(f"{where}: has {len(row)} cells, the header {len(header)}")
            yield where, [row[header.index(name)].strip() for name in columns]
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: is not valid CSV ({error})") from None


def class_number(classes: Sequence[str], source: Path) -> ClassNumber:
    """A function that gives the label of a class, and refuses one that is unknown.

    Args:
        classes: Names by label.
        source: The file they come from, for the message.
    """
    numbers = {name: label for label, name in enumerate(classes)}

    def number(name: str, where: str) -> int:
        if name not in numbers:
            raise UserError(
                f"{where}: {name[:80]!a} is not among the {len(classes)} classes of {source}; take "
                "all label files from the same release"
            )
        return numbers[name]

    return number


def check_labels(labels: Labels) -> None:
    """Refuse label files that name a class or a clip twice, be it in two parts, or by no name.

    Raises:
        UserError: Names it.
    """
    for what, names in (
        ("class", list(labels.classes)),
        ("clip", [row.name for rows in labels.parts.values() for row in rows]),
    ):
        odd = next((name for name in names if not _is_name(name)), None)
        if odd is not None:
            raise UserError(f"label files: {odd!a} is no name of a {what}; take the owner's own")
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            raise UserError(f"label files: name the {what} {twice!a} twice; take the owner's own")


def _is_name(name: str) -> bool:
    """Whether a name can stand on a line of its own and be found there again."""
    return bool(name) and name == " ".join(name.split()) and is_storable(name)
