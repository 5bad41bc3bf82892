"""Which copies a list asks for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.transcoding.naming import copy_names


class Source(NamedTuple):
    """What a copy is made from: equal as long as the original is the same."""

    path: str
    """As listed; with the member's name, if it is part of a tar shard."""
    size: int
    """Bytes, as in the manifest."""
    mtime: int
    """Time of the last change, nanoseconds since 1970."""


class Copy(NamedTuple):
    """A row of the list, and the copy that it asks for."""

    row: int
    line: int
    name: str
    """The copy's name, without ending, relative to where copies lie."""
    source: Source
    label: int


def plan_copies(manifest: Manifest, *, once_per_row: bool) -> list[Copy]:
    """The copies of a manifest's usable rows, in order.

    Names do not depend on which rows are usable, so that they stay when that changes.

    Args:
        manifest: The originals.
        once_per_row: Whether rows of the same original get copies of their own.
    """
    columns = (manifest.table[name] for name in ("path", "member", "size", "mtime", "line"))
    paths, members, sizes, mtimes, lines = (column.to_pylist() for column in columns)
    listed = [
        f"{path}/{member}" if member else _relative(path, manifest.root)
        for path, member in zip(paths, members, strict=True)
    ]
    if once_per_row:
        names = copy_names(listed)
    else:
        distinct = list(dict.fromkeys(listed))
        named = dict(zip(distinct, copy_names(distinct), strict=True))
        names = [named[source] for source in listed]
    return [
        Copy(
            row,
            lines[row],
            names[row],
            Source(listed[row], sizes[row], mtimes[row]),
            int(manifest.labels[row]),
        )
        for row in manifest.usable.tolist()
    ]


def _relative(path: str, root: Path) -> str:
    return path.removeprefix(f"{root}/")


def list_stem(source: str | Path) -> str:
    """What to call the copy of a list, a folder, or tar shards: "train" of train-{000..031}.tar."""
    stem = Path(source).resolve().stem if Path(source).exists() else Path(source).stem
    return re.split(r"[{*?\[]", stem)[0].strip("-_. ") or "list"
