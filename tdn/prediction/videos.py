"""Which videos to predict, and what they hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.indexing import index_list
from tdn.pipelines.manifest import Manifest
from tdn.pipelines.sources.class_folders import clips_below, holds_frames
from tdn.pipelines.sources.listing import is_storable


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


def index_videos(videos: Sequence[str], template: str = "") -> Manifest:
    """Probe videos.

    Args:
        videos: Files and folders of frames.
        template: Format of picture names in folders of frames; by default it is found out.

    Returns:
        A manifest with a row for each, also for those that are unusable.
    """
    with tempfile.TemporaryDirectory(prefix="tdn-") as folder:
        listed = Path(folder) / "videos.txt"
        lines = [f"{os.path.abspath(video)} 0\n" for video in videos]  # noqa: PTH100 - no links
        listed.write_text("".join(lines), encoding="utf-8")
        output = listed.with_suffix(".arrow")
        manifest = index_list(listed, output, template=template, progress=len(videos) > 8).manifest
    manifest.list_path = Path("the given videos")  # for messages; the file is mapped, and gone
    return manifest
