"""Tar shards in WebDataset's layout: a video, or its frames, beside a file with its label.

A sample is ``KEY.webm`` (or another video) or its frames (``KEY/00001.jpg``, ... or
``KEY.00001.jpg``, ...), and ``KEY.cls``, a label or class name as text, or ``KEY.json`` with a
"label"; a key ends at the first dot of a file's name. Only the tar headers are read here; samples
are later read at their place in the shard.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdn.errors import UserError
from tdn.pipelines.files.frame_folders import PICTURES, FolderError, find_series
from tdn.pipelines.sources.listing import VIDEOS, Listing, Member, is_storable, numbered
from tdn.pipelines.sources.tar_files import TarPart, read_tar

_LABELS = (".cls", ".json")
_DESCRIPTIONS = ("label", "class", "cls")
_SHARD = re.compile(r".*\.(?:tar|tgz|tar\.(?:gz|bz2|xz|zst|lz4))", re.I | re.S)
_BRACES = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")


def are_shards(source: str | Path) -> bool:
    """Whether a data set is named as tar shards."""
    return _SHARD.fullmatch(str(source)) is not None


def read_shards(pattern: str, classes: Sequence[str] = (), template: str = "") -> Listing:
    """List the samples of shards, in the order of the shards and of their members.

    Args:
        pattern: ``train-{000..031}.tar``, or with ``*`` and ``?`` as in a shell.
        classes: Class names by label; by default the shards' own, sorted.
        template: Format of frames' names within a sample; by default it is found out.

    Raises:
        UserError: A shard is missing, cut off or compressed, a sample has no label or several
            videos, or one is stored as a link.
    """
    files = _expand(pattern)
    root = Path(os.path.commonpath([os.path.dirname(file) or "." for file in files]))  # noqa: PTH120
    listing, names = Listing(root, [], [], [], found=True), []
    for file in files:
        path = os.path.relpath(file, root)
        for member, name in _members(file, template):
            listing.paths.append(path)
            listing.members.append(member)
            names.append(name)
    if not names:
        raise UserError(f"{pattern}: holds no videos; give shards with KEY.webm and KEY.cls")
    listing.lines = list(range(1, len(names) + 1))
    listing.labels, listing.classes = numbered(
        names, lambda row: f"{listing.paths[row]}: {listing.members[row].name}", classes
    )
    return listing


def _expand(pattern: str) -> list[str]:
    """The files of a pattern, in order."""
    files = [pattern]
    while match := _BRACES.search(files[0]):
        first, last = match.groups()
        numbers = [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
        files = [file.replace(match[0], number, 1) for file in files for number in numbers]
        if not files:
            raise UserError(f"{pattern}: {{{first}..{last}}} counts down; give the lower first")
    found: list[str] = []
    for file in files:
        found += [file] if Path(file).is_file() else sorted(glob.glob(file)) or [file]  # noqa: PTH207
    missing = next((file for file in found if not Path(file).is_file()), None)
    if missing is not None:
        raise UserError(f"{missing}: no such tar shard; check the path")
    odd = next((file for file in found if not is_storable(file)), None)
    if odd is not None:
        raise UserError(f"{odd!a}: is no name in UTF-8; rename the shard")
    return found


@dataclass
class _Sample:
    """What a shard holds of one key."""

    video: TarPart | None = None
    frames: dict[str, TarPart] = field(default_factory=dict)
    """By the pictures' names within the sample."""
    label: str = ""
    described: str = ""
    """The label in a JSON file, for samples that have no other."""


def _members(file: str, template: str) -> Iterator[tuple[Member, str]]:
    """The samples of a shard, with their labels as written."""
    samples = _samples(file)
    for key, sample in samples.items():
        frames = sample.frames.values()
        if sample.video is None and all(_shows_another(f, key, samples) for f in frames):
            continue  # a label alone, or thumbnails
        label = sample.label or sample.described
        if not label:
            first = sample.video or next(iter(frames))
            raise UserError(f"{file}: {first.name} has no label; add {key or 'KEY'}.cls")
        if sample.video is not None:
            _, offset, size, _ = sample.video
            yield Member(sample.video.name, [offset], [size], pictures=False), label
        else:
            yield _of_frames(key, sample.frames, template), label


def _samples(file: str) -> dict[str, _Sample]:
    """What a shard holds, by key, in order."""
    samples: defaultdict[str, _Sample] = defaultdict(_Sample)
    for part in read_tar(file, (*VIDEOS, *PICTURES, *_LABELS), _LABELS):
        folder, key, ending = _split(part.name)
        lower = ending.lower()
        if lower == ".cls":
            samples[key].label = _label(file, part)
        elif lower == ".json":
            samples[key].described = _described(part)
        elif lower.endswith(VIDEOS):
            if samples[key].video is not None:
                raise UserError(f"{file}: {key} has several videos; give each a key of its own")
            samples[key].video = part
        elif lower.endswith(PICTURES) and lower.count(".") > 1:
            samples[key].frames[ending[1:]] = part
        elif lower.endswith(PICTURES):
            samples[folder].frames[os.path.basename(part.name)] = part  # noqa: PTH119
    return samples


def _split(name: str) -> tuple[str, str, str]:
    """A name's folder, key and ending: "a/b.1.jpg" is "a", "a/b", ".1.jpg"."""
    folder, base = os.path.split(name)
    stem, dot, ending = base.partition(".")
    return folder, os.path.join(folder, stem), dot + ending  # noqa: PTH118 - many


def _shows_another(picture: TarPart, key: str, samples: Container[str]) -> bool:
    """Whether a picture stands beside another sample's files: KEY.jpg beside KEY.webm."""
    own = _split(picture.name)[1]
    return own != key and own in samples


def _of_frames(key: str, frames: dict[str, TarPart], template: str) -> Member:
    try:
        series = find_series(frames, template)
    except FolderError as error:
        first = next(iter(frames.values()))
        return Member(key, [first.offset], [first.size], pictures=True, problem=str(error))
    parts = [frames[series.name(number)] for number in range(series.frames)]
    return Member(key, [p.offset for p in parts], [p.size for p in parts], pictures=True)


def _label(file: str, part: TarPart) -> str:
    try:
        return " ".join(part.content.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        raise UserError(f"{file}: {part.name} is not text; write a label in it") from None


def _described(part: TarPart) -> str:
    """The label in a JSON file, "" if there is none."""
    try:
        value: Any = json.loads(part.content)
    except (ValueError, RecursionError):
        return ""
    found = [value.get(name) for name in _DESCRIPTIONS] if isinstance(value, dict) else []
    labels = [v for v in found if isinstance(v, (int, float, str)) and not isinstance(v, bool)]
    return " ".join(str(labels[0]).split()) if labels else ""
