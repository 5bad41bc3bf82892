"""Whether a folder has a folder of videos for each class, at a glance."""

from __future__ import annotations

import os
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.sources.listing import VIDEOS


def check_class_folders(root: Path) -> None:
    """Refuse what is no folder with class folders.

    Raises:
        UserError: It is none.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "there is no such folder"
        raise UserError(
            f"data.root: {root}: {what}; give a folder that has a folder of videos for each class"
        )
    if folders_in(root):
        return
    videos = len(videos_in(root))
    if videos:
        raise UserError(
            f"data.root: {root}: holds {videos} videos but no class folders; put the videos of "
            f"each class into a folder with its name, such as {root / 'walking'}"
        )
    raise UserError(
        f"data.root: {root}: holds no class folders; make one for each class, and put its videos "
        "in it"
    )


def folders_in(folder: Path) -> list[os.DirEntry[str]]:
    """The folders right in a folder, but for those that are hidden."""
    return [e for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")]


def videos_in(folder: Path) -> list[str]:
    """Names of the video files right in a folder."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if not entry.name.startswith(".")
        and entry.name.lower().endswith(VIDEOS)
        and not entry.is_dir()
    )
