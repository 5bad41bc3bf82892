"""The data sets that ``tdn prepare`` knows, with the sizes that their owners published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tdn.pipelines.datasets.action_splits import read_hmdb51, read_ucf101
from tdn.pipelines.datasets.kinetics import read_kinetics
from tdn.pipelines.datasets.labels import LabelFiles, Labels
from tdn.pipelines.datasets.something import read_version_1, read_version_2

Count = int | tuple[int, int]
"""A number of clips, or the fewest and the most where it varies."""


@dataclass(frozen=True)
class DataSet:
    """A published data set."""

    title: str
    recipe: str
    """File in configs/ to train with."""
    read: Callable[[LabelFiles, int], Labels]
    """Reads the label files, for a split."""
    classes: int
    counts: tuple[Mapping[str, Count], ...]
    """Clips of each part, for each split."""
    folders: tuple[str, ...] = ()
    """Where label files may lie below the root, besides ``labels`` and ``annotations``."""
    preferred: str = ""
    """Name of a folder whose videos replace others of the same name."""


DATA_SETS = {
    "ssv1": DataSet(
        "Something-Something V1",
        "ssv1_r50_8f",
        read_version_1,
        174,
        ({"train": 86_017, "validation": 11_522, "test": 10_960},),
    ),
    "ssv2": DataSet(
        "Something-Something V2",
        "ssv2_r50_8f",
        read_version_2,
        174,
        ({"train": 168_913, "validation": 24_777, "test": 27_157},),
    ),
    # Videos vanish from YouTube, and with them rows of the label files. A class has 250 to 1000 of
    # them for training and up to 50 for validation; copies that others describe have 234,619 and
    # 19,761, or 240,436 and 19,796.
    "kinetics400": DataSet(
        "Kinetics-400",
        "kinetics400_r50_8f",
        read_kinetics,
        400,
        ({"train": (215_000, 260_000), "validation": (19_000, 20_000)},),
        preferred="replacement_for_corrupted_k400",
    ),
    "ucf101": DataSet(
        "UCF101",
        "ucf101_r50_16f",
        read_ucf101,
        101,
        (
            {"train": 9_537, "validation": 3_783},
            {"train": 9_586, "validation": 3_734},
            {"train": 9_624, "validation": 3_696},
        ),
        ("ucfTrainTestlist",),
    ),
    "hmdb51": DataSet(
        "HMDB51",
        "hmdb51_r50_16f",
        read_hmdb51,
        51,
        ({"train": 3_570, "validation": 1_530},) * 3,
        ("testTrainMulti_7030_splits",),
    ),
}
