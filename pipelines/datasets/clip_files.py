"""Where the clips that label files name lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from tdn.errors import UserError
from tdn.pipelines.datasets.labels import Row
from tdn.pipelines.sources.listing import VIDEOS


def find_clips(root: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """Videos and folders of frames, at any depth.

    Nothing but names is looked at: what the files hold is seen when they are indexed. Links are
    followed, hidden folders are not.

    Args:
        root: Folder to look in.
        names: Of videos without their ending, and of folders.

    Returns:
        Paths relative to the root, sorted, by name.

    Raises:
        UserError: A folder cannot be read.
    """
    wanted = set(names)
    found: dict[str, list[str]] = {}
    seen: set[tuple[int, int]] = set()
    _is_new(str(root), seen)
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        place = os.path.relpath(folder, root)
        inside: list[str] = []
        for name in sorted(folders):
            if name in wanted:  # its frames are not looked at: there are millions
                found.setdefault(name, []).append(os.path.normpath(f"{place}/{name}"))
            elif not name.startswith(".") and _is_new(f"{folder}/{name}", seen):
                inside.append(name)
        folders[:] = inside
        for name in files:
            stem, ending = os.path.splitext(name)  # noqa: PTH122 - called for each of many files
            if stem in wanted and ending.lower() in VIDEOS:
                found.setdefault(stem, []).append(os.path.normpath(f"{place}/{name}"))
    return {name: sorted(paths) for name, paths in found.items()}


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename}: cannot be read: {error.strerror}; change its permissions")


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder comes for the first time: links may lead back to one above."""
    status = os.stat(folder)  # noqa: PTH116 - a string is at hand
    identity = status.st_dev, status.st_ino
    known = identity in seen
    seen.add(identity)
    return not known


def choose(row: Row, paths: list[str], preferred: str, root: Path) -> str:
    """The path of a clip, of those that were found by its name.

    Args:
        row: The clip.
        paths: Relative to the root; at least one.
        preferred: Name of a folder whose files replace those of the same name elsewhere.
        root: For the message.

    Raises:
        UserError: Several fit.
    """
    if len(paths) > 1 and preferred:
        paths = [path for path in paths if preferred in Path(path).parts] or paths
    if len(paths) > 1 and row.folder:
        folder = _comparable(row.folder)
        paths = [path for path in paths if _comparable(Path(path).parent.name) == folder] or paths
    if len(paths) > 1:
        raise UserError(
            f"{root}: clip {row.name} is there twice ({paths[0]}, {paths[1]}); give the folder "
            "that holds one of them, and that of the label files with --labels"
        )
    return paths[0]


def _comparable(folder: str) -> str:
    """A class's folder as others may have written it."""
    return folder.replace(" ", "_").lower()
