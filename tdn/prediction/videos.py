"""Which videos to predict, and what they hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.errors import UserError
from tdn.pipelines.decoding.frame_times import frame_times
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sources.class_folders import clips_below, holds_frames
from tdn.pipelines.sources.listing import Listing, is_storable
from tdn.pipelines.videos.reading import DecodingError


class Videos(NamedTuple):
    """Videos that were looked into."""

    manifest: Manifest
    """A row for each, also for those that are unusable."""
    times: dict[int, npt.NDArray[np.float64]]
    """By row, of those that are usable: (frames + 1,) seconds, as of ``frame_times``."""
    problems: dict[int, str]
    """By row, of the others: why, in a few words."""


def find_videos(paths: Sequence[str | Path]) -> list[str]:
    """The clips that were named.

    Args:
        paths: Video files; folders of numbered pictures, each of which is a clip; other folders,
            for all clips at any depth below them, in the order of their names.

    Raises:
        UserError: A path is not there, or a folder holds nothing.
    """
    return [video for path in paths for video in _videos(os.fspath(path))]


def _videos(path: str) -> Iterator[str]:
    if not is_storable(path):
        raise UserError(f"{path!a}: is no name in UTF-8 on one line; rename it")
    if not os.path.exists(path):  # noqa: PTH110 - a string
        raise UserError(f"{path}: there is no such video or folder; check the path")
    if not Path(path).is_dir() or holds_frames(path):
        yield path
        return
    found = list(clips_below(Path(path)))
    if not found:
        raise UserError(f"{path}: holds no videos and no pictures; give a folder that does")
    yield from found


def read_videos(videos: Sequence[str], template: str = "") -> Videos:
    """Probe videos, and when their frames are shown.

    Args:
        videos: Files and folders of frames.
        template: Format of picture names in folders of frames; by default it is found out.
    """
    manifest = _indexed(videos, template)
    times, problems = {}, {line - 1: why for line, _, why in manifest.problems()}
    for row in manifest.usable.tolist():
        try:
            times[row] = frame_times(manifest.clip(row))
        except DecodingError as error:
            problems[row] = str(error)
    return Videos(manifest, times, problems)


def read_video(video: str, template: str = "") -> Videos:
    """The same of one video.

    Raises:
        UserError: It is unusable.
    """
    found = read_videos([video], template)
    if found.problems:
        raise UserError(f"{video}: {found.problems[0]}")
    return found


def _indexed(videos: Sequence[str], template: str) -> Manifest:
    paths = [os.path.abspath(video) for video in videos]  # noqa: PTH100 - no links
    rows = range(len(paths))
    listing = Listing(Path("/"), paths, [0] * len(paths), [row + 1 for row in rows])
    with tempfile.TemporaryDirectory(prefix="tdn-") as folder:
        output = Path(folder) / "videos.arrow"
        manifest = index_list(listing, output, template=template, progress=len(paths) > 8).manifest
    manifest.list_path = Path("the given videos")  # for messages; the file is mapped, and gone
    return manifest
