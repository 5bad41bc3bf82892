"""A folder per class: its videos, and its folders of frames, are the class's clips."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.files.frame_folders import PICTURES, is_frame
from tdn.pipelines.sources.listing import Listing, is_storable, numbered


def read_class_folders(root: Path, classes: Sequence[str] = ()) -> Listing:
    """List a folder of class folders, classes and clips in the order of their names.

    A class's clips are, at any depth below its folder, the folders that hold numbered pictures, and
    the files of all others except pictures. What is hidden does not count. Files that are no videos
    are told when they are indexed.

    Args:
        root: Folder with one folder per class.
        classes: Class names by label; by default the folders' names, sorted, those of empty folders
            included.

    Raises:
        UserError: The folder cannot be read, has no class with a clip, or links back to itself; a
            class is unknown, or a file's name cannot be stored.
    """
    listing, names = Listing(root, [], [], [], found=True), []
    try:
        folders = sorted(entry.name for entry in os.scandir(root) if _is_class(entry))
        for name in folders:
            for clip in clips_below(root / name, frozenset({_identity(root)})):
                listing.paths.append(os.path.relpath(clip, root))
                names.append(name)
    except OSError as error:
        raise UserError(f"{error.filename or root}: cannot be read: {error.strerror}") from None
    if not names:
        raise UserError(
            f"{root}: holds no class folders with videos or folders of frames; give a folder for "
            "each class, and one in it for the pictures of each clip"
        )
    odd = next((path for path in listing.paths if not is_storable(path)), None)
    if odd is not None:
        raise UserError(f"{root}: {odd!a} is no name in UTF-8; rename the file")
    # Class folders are names even where they are numbers: "007" is not label 7.
    known = tuple(classes) or tuple(folders)
    listing.labels, listing.classes = numbered(names, lambda row: listing.paths[row], known)
    listing.lines = list(range(1, len(names) + 1))
    return listing


def _is_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def clips_below(folder: Path, above: Set[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Clips at any depth, in the order of their names.

    Args:
        folder: Where to look.
        above: Devices and inodes of the folders around it.

    Raises:
        UserError: A folder links to one that it lies in.
        OSError: One cannot be read.
    """
    identity = _identity(folder)
    if identity in above:
        raise UserError(f"{folder}: links to a folder that holds it; remove the link")
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if not entry.is_dir():
            if not entry.name.lower().endswith(PICTURES):
                yield entry.path
        elif holds_frames(entry.path):
            yield entry.path
        else:
            yield from clips_below(Path(entry.path), above | {identity})


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def holds_frames(folder: str) -> bool:
    """Whether a folder has numbered pictures in it, so that it is a clip itself."""
    with os.scandir(folder) as entries:
        return any(is_frame(entry.name) for entry in entries)
