"""A data set of unlike clips, and how to read a copy of it back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tdn.pipelines.decoding.frame_reading import iter_frames
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tests.pipelines.odd_videos import damage_packet, write_timed_video
from tests.sources import write_frame_folder
from tests.videos import read_number, rotate_mp4, write_list, write_video

ROWS = (
    ("a/clip.webm", 3),
    ("b/clip.mp4", 1),
    ("clip.avi", 0),
    ("missing.webm", 2),
    ("odd.webm", 2),
    ("one.mp4", 5),
    ("turned.mp4", 1),
    ("a/clip.webm", 4),
    ("damaged.mp4", 0),
    ("late.mp4", 2),
    ("frames", 0),
)
"""Path and label of each row: one file is missing, one is damaged, one comes twice."""
GOOD = [0, 1, 2, 4, 5, 6, 7, 9, 10]
FRAMES = {0: 25, 1: 13, 2: 9, 4: 12, 5: 1, 6: 5, 7: 25, 9: 6, 10: 7}
"""Of the good rows, how many frames."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for name in ("a", "b"):
        (folder / name).mkdir()
    b_frames = {"bf": "3", "g": "12"}
    write_video(folder / "a/clip.webm", 25, audio=True)
    write_video(folder / "b/clip.mp4", 13, codec="h264", options=b_frames)
    write_video(folder / "clip.avi", 9, codec="mjpeg")
    write_video(folder / "odd.webm", 12, size=(75, 101))
    write_video(folder / "one.mp4", 1, codec="h264")
    rotate_mp4(write_video(folder / "turned.mp4", 5, codec="h264"), 90)
    damage_packet(write_video(folder / "damaged.mp4", 12, codec="h264"), 6)
    write_timed_video(folder / "late", [5000, 5001, 5100, 5101, 7000, 7100], options=b_frames)
    write_frame_folder(folder / "frames", 7)
    write_list(folder / "train.txt", list(ROWS))
    return folder


@pytest.fixture
def originals(prepared, tmp_path) -> Path:
    """The data set's list, in a folder that the test may change."""
    folder = tmp_path / "originals"
    shutil.copytree(prepared, folder)
    return folder / "train.txt"


def shown(clip) -> list[int]:
    """The numbers that a copy's frames show; the one that was lying on its side is turned back."""
    upright = [np.rot90(f) if f.shape[0] > f.shape[1] else f for f in iter_frames(clip)]
    return [read_number(frame) for frame in upright]


def contents(source) -> list[tuple[list[int], int]]:
    """Of each row of a copy: the numbers of its frames, and its label."""
    manifest = manifest_of(source, progress=False)
    assert not manifest.problems()
    clips = [manifest.clip(row) for row in range(len(manifest))]
    return [(shown(clip), clip.label) for clip in clips]


EXPECTED = [(list(range(FRAMES[row])), ROWS[row][1]) for row in GOOD]
"""What ``contents`` is of a good copy of the data set."""
