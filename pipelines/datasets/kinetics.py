"""Kinetics: CSV files of YouTube clips, whose videos are called by their id and times."""

from __future__ import annotations

from tdn.errors import UserError
from tdn.pipelines.datasets.labels import LabelFiles, Labels, Row, class_number, read_table

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_NAMES = {
    "train": ("train.csv", "kinetics_train.csv", "kinetics-400_train.csv"),
    "validation": ("val.csv", "validate.csv", "kinetics_val.csv", "kinetics-400_val.csv"),
}


def read_kinetics(files: LabelFiles, _split: int) -> Labels:
    """Read the training and the validation file; the test file says no labels.

    Who tests a released network needs no training file: every class is in the validation file, too.
    Classes are numbered in alphabetical order, as in the released code.

    Raises:
        UserError: The validation file is missing, or a file is malformed.
    """
    paths = {"validation": files.get(*_NAMES["validation"])}
    train = files.find(*_NAMES["train"])
    if train is not None:
        paths = {"train": train} | paths
    tables = {part: list(read_table(path, _COLUMNS)) for part, path in paths.items()}
    first = next(iter(paths))
    classes = tuple(sorted({cells[0] for _, cells in tables[first]}))
    number = class_number(classes, paths[first])
    parts = {
        part: [
            Row(clip_name(where, *cells[1:]), number(cells[0], where), _folder(cells[0]))
            for where, cells in table
        ]
        for part, table in tables.items()
    }
    return Labels(classes, parts)


def clip_name(where: str, video: str, start: str, end: str) -> str:
    """What a clip's file is called: ``<id>_<start>_<end>``, seconds in six digits."""
    try:
        times = int(float(start)), int(float(end))
    except (ValueError, OverflowError):
        raise UserError(f"{where}: {start!a} and {end!a} are no times in seconds") from None
    if not video:
        raise UserError(f"{where}: has no youtube_id; take the owner's file")
    return f"{video}_{times[0]:06d}_{times[1]:06d}"


def _folder(label: str) -> str:
    """A class as a folder's name, which cannot hold a slash."""
    return label.replace("/", "_")
