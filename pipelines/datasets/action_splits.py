"""UCF101 and HMDB51: small data sets with three splits, given as text files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tdn.errors import UserError
from tdn.pipelines.datasets.labels import (
    ClassNumber,
    LabelFiles,
    Labels,
    Row,
    class_number,
    read_lines,
)

_PARTS = {"1": "train", "2": "validation"}
"""HMDB51's numbers; a clip with 0 takes no part in a split."""


def read_ucf101(files: LabelFiles, split: int) -> Labels:
    """Read classInd.txt (``1 ApplyEyeMakeup``) and a split's trainlist and testlist.

    Their lines are ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi``, in the trainlist with the
    class's number after it.

    Raises:
        UserError: A file is missing or malformed.
    """
    source = files.get("classInd.txt")
    classes = _numbered_classes(source)
    names = {"train": f"trainlist{split:02d}.txt", "validation": f"testlist{split:02d}.txt"}
    paths = {part: files.get(name) for part, name in names.items()}
    number = class_number(classes, source)
    parts = {}
    for part, path in paths.items():
        parts[part] = [_ucf101_row(where, line, number) for where, line in read_lines(path)]
    return Labels(classes, parts)


def read_hmdb51(files: LabelFiles, split: int) -> Labels:
    """Read a file for each class: ``<class>_test_split1.txt`` with lines ``name.avi 1``.

    1 is training, 2 is test, and 0 neither. Classes are numbered in alphabetical order.

    Raises:
        UserError: There is no such file, or one is malformed.
    """
    ending = f"_test_split{split}.txt"
    found = (sorted(folder.glob(f"*{ending}")) for folder in files.folders if folder.is_dir())
    paths = next(filter(None, found), None)
    if paths is None:
        raise files.missing(f"<class>{ending}")
    classes = tuple(sorted(path.name.removesuffix(ending) for path in paths))
    parts: dict[str, list[Row]] = {"train": [], "validation": []}
    for path in paths:
        name = path.name.removesuffix(ending)
        for where, line in read_lines(path):
            video, _, part = line.rpartition(" ")
            if not video.strip() or part not in ("0", *_PARTS):
                raise UserError(f"{where}: is not 'name.avi' and 0, 1 or 2; take the owner's file")
            if part in _PARTS:
                row = Row(PurePosixPath(video.strip()).stem, classes.index(name), name)
                parts[_PARTS[part]].append(row)
    return Labels(classes, parts)


def _numbered_classes(path: Path) -> tuple[str, ...]:
    names: list[str] = []
    for where, line in read_lines(path):
        number, _, name = line.partition(" ")
        if number != str(len(names) + 1) or not name.strip():
            raise UserError(f"{where}: is not '{len(names) + 1} Class'; take the owner's file")
        names.append(name.strip())
    if not names:
        raise UserError(f"{path}: is empty; unpack or download it again")
    return tuple(names)


def _ucf101_row(where: str, line: str, number: ClassNumber) -> Row:
    listed, _, told = line.partition(".avi")
    path, told = PurePosixPath(listed), told.strip()
    if len(path.parts) != 2:
        raise UserError(f"{where}: is not 'Class/video.avi', with or without a number")
    label = number(path.parent.name, where)
    if told not in ("", str(label + 1)):
        raise UserError(f"{where}: has the number {told[:20]!a}, but its class is {label + 1}")
    return Row(path.name, label, path.parent.name)
