"""What the copies of a list's clips are called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

_LONGEST = 200
"""Bytes of a part of a name; file systems take 255, with an ending."""


def copy_names(sources: Iterable[str]) -> list[str]:
    """Names for copies: the originals' relative paths without ending, each given once.

    Names have no dots, so that an ending says what a file is and a tar shard's samples are told
    apart; no name is a folder of another. Where that takes more than the path, the ending or a
    number follows it.

    Args:
        sources: Paths as listed, of which some may be equal.

    Returns:
        A name for each, relative, parts separated by "/".
    """
    taken: set[str] = set()
    folders: set[str] = set()
    names = []
    for source in sources:
        for name in _candidates(source):
            above = [str(folder) for folder in PurePosixPath(name).parents][:-1]
            if name not in taken and name not in folders and taken.isdisjoint(above):
                break
        taken.add(name)
        folders.update(above)
        names.append(name)
    return names


def _candidates(source: str) -> Iterator[str]:
    *folders, last = [part for part in source.split("/") if part not in ("", ".", "..")] or ["clip"]
    stem, dot, suffix = last.rpartition(".")
    if not stem:
        stem, dot, suffix = last, "", ""
    folders = [_clean(folder) for folder in folders]
    yield "/".join([*folders, _clean(stem)])
    whole = _clean(f"{stem}_{suffix}") if dot else _clean(stem)
    yield "/".join([*folders, whole])
    flat = _clean("__".join([*folders, whole]))
    yield flat
    for number in itertools.count(2):
        yield f"{flat}_{number}"


def _clean(part: str) -> str:
    # Control characters would end a line of a list; a space at the end would be lost there.
    part = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029.]", "_", part)
    return part.encode()[:_LONGEST].decode(errors="ignore").strip() or "_"
