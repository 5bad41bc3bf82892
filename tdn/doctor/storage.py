"""Folders that are written to: whether they can be, and how much room there is."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, ok, warn

GB = 1e9
ROOM = 1 * GB
"""A folder with less room fails soon: a log and a manifest fit, checkpoints of ResNet-50 do not."""
OUTPUT = "--output /a/folder/with/room"
"""How to choose where a run is written."""
_SKEW = 5.0
"""Seconds between the clocks of this machine and of its storage that nothing minds."""


class Folder(NamedTuple):
    """A folder that would be written to."""

    path: str
    problem: str = ""
    """Why it cannot be written to; else empty."""
    free: int = 0
    """Bytes."""
    skew: float = 0.0
    """Seconds that the storage's clock is ahead of this machine's."""
    locks: bool = True
    """Whether files can be locked."""


def look(path: Path) -> Folder:
    """Write to a folder, or to where it would be made; nothing is left behind."""
    path = path.absolute()
    there = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
            skew = os.fstat(file.fileno()).st_mtime - time.time()
            locks = _can_lock(file.fileno())
        status = os.statvfs(there)
    except OSError as error:
        where = "" if there == path else f", as {there} would be needed"
        return Folder(str(path), f"{os.strerror(error.errno or 0).lower()}{where}")
    return Folder(str(path), "", status.f_bavail * status.f_frsize, skew, locks)


def _can_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def check_cache() -> Iterator[Finding]:
    """Look at the folder where manifests are cached."""
    from tdn.pipelines.indexing.manifest_cache import cache_path

    elsewhere = "export TDN_CACHE=/a/folder/with/room"
    yield from judge("cache", look(cache_path("list.txt").parent), elsewhere, locked=True)


def check_output() -> Iterator[Finding]:
    """Look at where runs would be written from here, if nothing else is said."""
    from tdn.config import Config

    for finding in judge("output", look(Path(Config().output)), OUTPUT):
        # Another folder may be meant: only a configuration can tell.
        yield finding._replace(level="warn") if finding.level == "fail" else finding


def judge(
    name: str, folder: Folder, elsewhere: str, *, locked: bool = False, needed: float = ROOM
) -> Iterator[Finding]:
    """What to say of a folder.

    Args:
        name: What it is for.
        folder: What was seen.
        elsewhere: How to choose another one.
        locked: Whether files in it are locked.
        needed: Bytes that will be written.
    """
    free = f"{folder.path}: {folder.free / GB:.1f} GB free"
    if folder.problem:
        yield fail(name, f"{folder.path}: cannot be written ({folder.problem})", elsewhere)
    elif locked and not folder.locks:
        yield fail(name, f"{folder.path}: files there cannot be locked", elsewhere)
    elif folder.free < needed:
        yield fail(name, f"{free}, {needed / GB:.1f} GB are needed", f"make room, or {elsewhere}")
    else:
        yield ok(name, free)
    if not folder.problem and abs(folder.skew) > _SKEW:
        way = "ahead of" if folder.skew > 0 else "behind"
        yield warn(
            f"{name} clock",
            f"the storage is {abs(folder.skew):.0f} s {way} this machine: changed files may be "
            "taken for unchanged",
            "sudo timedatectl set-ntp true, here and on the file server",
        )
