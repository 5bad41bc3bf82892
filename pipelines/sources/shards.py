"""Tar shards in WebDataset's layout: a video, or its frames, beside a file with its label.

A sample is ``KEY.webm`` (or another video) or its frames (``KEY/00001.jpg``, ... or
``KEY.00001.jpg``, ...), and ``KEY.cls``, a label or class name as text, or ``KEY.json`` with a
"label". Only the tar headers are read here; samples are later read at their place in the shard.
"""

from __future__ import annotations

import glob
import json
import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tdn.errors import UserError
from tdn.pipelines.frame_folders import PICTURES
from tdn.pipelines.sources.listing import Listing, Member, numbered

_BRACES = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")


def are_shards(source: str | Path) -> bool:
    """Whether a data set is named as tar shards."""
    return str(source).lower().endswith(".tar")


def read_shards(pattern: str, classes: Sequence[str] = ()) -> Listing:
    """List the samples of shards, in the order of the shards and of their members.

    Args:
        pattern: ``train-{000..031}.tar``, or with ``*`` and ``?`` as in a shell.
        classes: Class names by label; by default the shards' own, sorted.

    Raises:
        UserError: A shard is missing or is no tar file, or a sample has no label.
    """
    files = _expand(pattern)
    root = Path(os.path.commonpath([os.path.dirname(file) or "." for file in files]))  # noqa: PTH120
    listing, names = Listing(root, [], [], []), []
    for file in files:
        try:
            with Path(file).open("rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
                samples = _samples(file, tar)
        except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read as a tar file: {_words(error)}") from None
        for member, name in samples:
            listing.paths.append(os.path.relpath(file, root))
            listing.members.append(member)
            names.append(name)
    if not names:
        raise UserError(f"{pattern}: holds no videos; give shards with KEY.webm and KEY.cls")
    listing.lines = list(range(1, len(names) + 1))
    listing.labels, listing.classes = numbered(
        names, lambda row: f"{listing.paths[row]}: {listing.members[row].name}", classes
    )
    return listing


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _expand(pattern: str) -> list[str]:
    """The files of a pattern, in order."""
    files = [pattern]
    while match := _BRACES.search(files[0]):
        first, last = match.groups()
        numbers = [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
        files = [f.replace(match[0], number) for f in files for number in numbers]
        if not files:
            raise UserError(f"{pattern}: {{{first}..{last}}} counts down; give the lower first")
    found: list[str] = []
    for file in files:
        found += sorted(glob.glob(file)) if any(mark in file for mark in "*?[") else [file]  # noqa: PTH207
    missing = next((file for file in found if not Path(file).is_file()), None)
    if not found or missing:
        raise UserError(f"{missing or pattern}: no such tar shard; check the path")
    return found


def _samples(file: str, tar: tarfile.TarFile) -> list[tuple[Member, str]]:
    """(member, label as written) of each sample of a shard."""
    media: dict[str, list[tarfile.TarInfo]] = {}
    labels: dict[str, str] = {}
    for info in tar:
        if not info.isreg():
            continue
        folder, name = os.path.split(info.name)
        stem, _, extension = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        extension = extension.lower()
        if name.startswith("."):
            continue
        if extension == "cls":
            labels[key] = _content(tar, info).decode().strip()
        elif extension == "json":
            labels[key] = _label_in(_content(tar, info), labels.get(key, ""))
        elif not info.name.lower().endswith(PICTURES):
            if extension not in _OTHER:
                media.setdefault(key, []).append(info)
        else:
            media.setdefault(key if "." in extension else folder, []).append(info)
    samples = []
    for key, files in media.items():
        if not labels.get(key):
            raise UserError(f"{file}: {key} has no label; add {key}.cls")
        pictures = all(f.name.lower().endswith(PICTURES) for f in files)
        if len(files) > 1 and not pictures:
            raise UserError(f"{file}: {key} has several videos; give each a name of its own")
        files.sort(key=lambda info: _in_number_order(info.name))
        member = Member(
            key if pictures else files[0].name,
            [info.offset_data for info in files],
            [info.size for info in files],
            pictures,
        )
        samples.append((member, labels[key]))
    return samples


_OTHER = frozenset({"txt", "npy", "pth", "pyd", "wav", "mp3", "flac", "__key__"})
"""Endings of files beside a video that are of no use here."""


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    opened: IO[bytes] | None = tar.extractfile(info)
    return opened.read() if opened else b""


def _label_in(content: bytes, known: str) -> str:
    try:
        value: Any = json.loads(content)
    except ValueError:
        return known
    for name in ("label", "class", "cls"):
        if isinstance(value, dict) and isinstance(value.get(name), (int, str)):
            return str(value[name]).strip()
    return known


def _in_number_order(name: str) -> list[tuple[int, str]]:
    """Sorts 9.jpg before 10.jpg."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
