"""A folder per class: its videos, and its folders of frames, are the class's clips."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.frame_folders import PICTURES
from tdn.pipelines.sources.listing import Listing, numbered


def read_class_folders(root: Path, classes: Sequence[str] = ()) -> Listing:
    """List a folder of class folders, classes and clips in the order of their names.

    A class's clips are the files below its folder and the folders that hold pictures; hidden ones
    do not count. Files that are no videos are told when they are indexed.

    Args:
        root: Folder with one folder per class.
        classes: Class names by label; by default the folders' names, sorted.

    Raises:
        UserError: The folder cannot be read or has no class with a clip, or a class is unknown.
    """
    listing, names = Listing(root, [], [], []), []
    try:
        folders = sorted(entry.name for entry in os.scandir(root) if _is_class(entry))
        for name in folders:
            for clip in _clips(root / name):
                listing.paths.append(os.path.relpath(clip, root))
                names.append(name)
    except OSError as error:
        raise UserError(f"{error.filename or root}: cannot be read: {error.strerror}") from None
    if not names:
        raise UserError(f"{root}: holds no class folders with videos; give a folder for each class")
    # Class folders are names even where they are numbers: "007" is not label 7.
    known = tuple(classes) or tuple(sorted(set(names)))
    listing.labels, listing.classes = numbered(names, lambda row: listing.paths[row], known)
    listing.lines = list(range(1, len(names) + 1))
    return listing


def _is_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _clips(folder: Path) -> Iterator[str]:
    """Videos and frame folders at any depth, in the order of their names."""
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if not entry.is_dir() or _holds_pictures(entry.path):
            yield entry.path
        else:
            yield from _clips(Path(entry.path))


def _holds_pictures(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(PICTURES) for entry in entries)
