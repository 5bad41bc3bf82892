"""Dividing videos into training and validation, so that no source stands on both sides.

A pure function of the videos' paths, classes and sources and of the seed: the order in which a file
system lists them does not matter, and a video more moves few of the others.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from tdn.errors import UserError
from tdn.pipelines.sources.listing import VIDEOS

SHARE = 0.2
"""Of the videos of each class that are validated,"""
MOST = 5000
"""but of all classes together about so many at most: more cost time and tell no more."""

_PIECE = re.compile(r"(?P<source>.+_g[0-9]+)_c[0-9]+", re.I)
"""The customary name of a piece that was cut from a longer recording: group, clip (UCF101's)."""


class Video(NamedTuple):
    """A usable video."""

    path: str
    """Relative to the folder."""
    name: str
    """Its class."""
    content: Hashable = None
    """Equal for files with the same content; None if nothing is known."""


class Split(NamedTuple):
    """Both sides, each in the order that the videos were given in."""

    train: list[Video]
    validation: list[Video]
    contradictory: list[list[Video]]
    """Videos of one source that stand in several classes; they are trained on."""


def split(videos: Sequence[Video], seed: int) -> Split:
    """Divide videos, class by class; the videos of a source stay together.

    Of every class at least one video is validated and one trained on.

    Args:
        videos: Of all classes.
        seed: Another one gives another split.

    Raises:
        UserError: A class has videos of one source only.
    """
    share = min(SHARE, MOST / max(1, len(videos)))
    sources = group(videos)
    mixed: list[list[Video]] = []
    of_class: defaultdict[str, list[list[Video]]] = defaultdict(list)
    for source in sources:
        one_class = len({video.name for video in source}) == 1
        (of_class[source[0].name] if one_class else mixed).append(source)
    _check_sources(videos, of_class, mixed)
    validated: set[str] = set()
    for name, own in of_class.items():
        also_trained = any(video.name == name for source in mixed for video in source)
        for source in _validated(own, share, seed, also_trained):
            validated.update(video.path for video in source)
    return Split(
        [video for video in videos if video.path not in validated],
        [video for video in videos if video.path in validated],
        mixed,
    )


def _check_sources(
    videos: Iterable[Video], of_class: dict[str, list[list[Video]]], mixed: Sequence[list[Video]]
) -> None:
    """Refuse classes that cannot stand on both sides."""
    counts: defaultdict[str, int] = defaultdict(int)
    for video in videos:
        counts[video.name] += 1
    shared = {video.name for source in mixed for video in source}
    for name in sorted(counts):
        own = len(of_class.get(name, ()))
        if own + (name in shared) >= 2 and own:
            continue
        have = "1 usable video" if counts[name] == 1 else f"{counts[name]} videos of one source"
        if own == 0:
            have = "only videos that stand in other classes too"
        raise UserError(
            f"class '{name}' has {have}; a class needs two sources, one to train on and one to "
            "validate: add videos, or take its folder away"
        )


def _validated(
    sources: Sequence[list[Video]], share: float, seed: int, also_trained: bool
) -> list[list[Video]]:
    """The sources of a class that are validated: about the share of its videos."""
    wanted = max(1, round(share * sum(map(len, sources))))
    ordered = sorted(sources, key=lambda source: _draw(seed, source))
    most = len(sources) - (not also_trained)
    chosen: list[list[Video]] = []
    taken = 0
    for source in ordered:
        if len(chosen) < most and taken + len(source) <= wanted:
            chosen.append(source)
            taken += len(source)
    return chosen or [min(ordered, key=len)]


def _draw(seed: int, source: Iterable[Video]) -> bytes:
    """A source's place in a random order."""
    name = min(video.path for video in source)
    return hashlib.sha256(f"{seed}\0{name}".encode(errors="surrogateescape")).digest()


def group(videos: Iterable[Video]) -> list[list[Video]]:
    """Videos by source; the sources, and the videos of each, in no order to rely on.

    Of one source are files with the same content (copies and links), files beside each other whose
    names differ in nothing but the ending, and pieces of one recording by their names:
    ``NAME_g01_c01.mp4``, ``NAME_g01_c02.mp4``. Other numbers in names say nothing: most folders
    number what has nothing to do with each other.
    """
    groups: dict[str, list[Video]] = {}
    of_mark: dict[Hashable, str] = {}
    for video in sorted(videos, key=lambda video: video.path):
        marks = set(_marks(video))
        found = sorted({of_mark[mark] for mark in marks if mark in of_mark})
        together = [one for key in found for one in groups.pop(key)]
        key = found[0] if found else video.path
        groups[key] = [*together, video]
        for one in groups[key] if len(found) > 1 else [video]:
            of_mark.update(dict.fromkeys(_marks(one), key))
    return list(groups.values())


def _marks(video: Video) -> list[Hashable]:
    """What two videos of one source have in common, in one of these at least."""
    folder, file = os.path.split(video.path)
    stem, ending = os.path.splitext(file)  # noqa: PTH122 - called for each of many
    stem = stem if ending.lower() in VIDEOS else file  # a folder of frames may have a dot in it
    piece = _PIECE.fullmatch(stem)
    marks: list[Hashable] = [("name", folder, stem)]
    if piece is not None:
        marks.append(("recording", video.name, piece["source"]))
    if video.content is not None:
        marks.append(("content", video.content))
    return marks
