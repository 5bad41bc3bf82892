"""Something-Something V1 (CSV, folders of frames) and V2 (JSON, WebM videos).

Classes are numbered in alphabetical order, as in the released code; V2 says the numbers itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tdn.errors import UserError
from tdn.pipelines.datasets.labels import (
    LabelFiles,
    Labels,
    Row,
    class_number,
    read_json,
    read_lines,
)

_TEST = "test"


def read_version_1(files: LabelFiles, _split: int) -> Labels:
    """Read V1's files: labels (a template on each line), and ``id;template`` lines of each part.

    Raises:
        UserError: A file is missing or malformed.
    """
    source = files.get(*_names(1, "labels.csv"))
    classes = tuple(sorted(line for _, line in read_lines(source)))
    parts = {
        part: _semicolon_rows(files.get(*_names(1, f"{part}.csv")), classes, source)
        for part in ("train", "validation")
    }
    test = files.find(*_names(1, "test.csv"))
    if test is not None:
        parts[_TEST] = [Row(line.partition(";")[0], None) for _, line in read_lines(test)]
    return Labels(classes, parts)


def read_version_2(files: LabelFiles, _split: int) -> Labels:
    """Read V2's files: labels (number by template), and a list of clips for each part.

    A clip has an ``id`` and a ``template`` with its placeholders in brackets; those of the test
    part have none, but a file of answers may be there.

    Raises:
        UserError: A file is missing or malformed.
    """
    source = files.get(*_names(2, "labels.json"))
    classes = _numbered_classes(source)
    number = class_number(classes, source)
    parts = {}
    for part in ("train", "validation"):
        path = files.get(*_names(2, f"{part}.json"))
        parts[part] = [
            Row(clip, number(_plain(_text(item, "template", where)), where))
            for where, clip, item in _items(path)
        ]
    answers = files.find("test-answers.csv")
    test = files.find(*_names(2, "test.json"))
    if answers is not None:
        parts[_TEST] = _semicolon_rows(answers, classes, source)
    elif test is not None:
        parts[_TEST] = [Row(clip, None) for _, clip, _ in _items(test)]
    return Labels(classes, parts)


def _names(version: int, name: str) -> tuple[str, str]:
    """How the owners have called a file: 20BN, and Qualcomm."""
    return f"something-something-v{version}-{name}", name


def _semicolon_rows(path: Path, classes: tuple[str, ...], source: Path) -> list[Row]:
    number = class_number(classes, source)
    rows = []
    for where, line in read_lines(path):
        clip, mark, template = line.partition(";")
        if not clip.strip() or not mark:
            raise UserError(f"{where}: is not 'id;template'; take the owner's file")
        rows.append(Row(clip.strip(), number(_plain(template.strip()), where)))
    return rows


def _plain(template: str) -> str:
    """A template without the brackets around its placeholders."""
    return template.replace("[", "").replace("]", "")


def _numbered_classes(path: Path) -> tuple[str, ...]:
    table = read_json(path)
    numbers: dict[int, str] = {}
    if isinstance(table, dict):
        # The numbers are given as text.
        numbers = {int(n): name for name, n in table.items() if re.fullmatch("[0-9]{1,4}", str(n))}
    if not numbers or len(numbers) != len(table) or set(numbers) != set(range(len(table))):
        raise UserError(f"{path}: does not number classes from 0 without gaps; take the owner's")
    return tuple(numbers[n] for n in range(len(numbers)))


def _items(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """The clips of a JSON file: where each stands, its id, all it says."""
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise UserError(f"{path}: is not a list of clips; take the owner's file")
    found = []
    for place, item in enumerate(content, start=1):
        where = f"{path}: clip {place}"
        found.append((where, _text(item, "id", where), item))
    return found


def _text(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, (str, int)) or not str(value).strip():
        raise UserError(f"{where}: has no {key}; take the owner's file")
    return str(value).strip()
