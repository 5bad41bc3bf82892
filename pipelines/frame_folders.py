"""Folders of frames: how their pictures are named, and how many there are.

The released code's templates are ``{:05d}.jpg`` (Something-Something V1), ``{:06d}.jpg`` (V2),
``img_{:05d}.jpg`` and ``image_{:05d}.jpg`` (UCF101, HMDB51, Kinetics).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Endings of pictures that can be frames, in lower case."""

PICTURE_CODECS = frozenset({"jpeg", "png", "webp", "bmp"})
"""Names of picture formats in a manifest, as against FFmpeg's names of video codecs."""

_PREFERRED = ("", "img_", "image_", "frame_")
"""Where a folder holds several series, such as optical flow beside the frames, these are frames."""
_NAME = re.compile(
    r"(?P<head>.*?)(?P<number>[0-9]{1,9})(?P<tail>\.(?:jpg|jpeg|png|webp|bmp))", re.I | re.S
)


class Series(NamedTuple):
    """Pictures that are the frames of one clip."""

    template: str
    """Format of a picture's name, given its number: ``img_{:05d}.jpg``."""
    first: int
    """Number of frame 0."""
    frames: int

    def name(self, frame: int) -> str:
        """The file name of a frame, counted from 0."""
        return self.template.format(self.first + frame)


class FolderError(ValueError):
    """Why a folder's pictures are not one clip, in a few words."""


def find_series(names: Iterable[str], template: str = "") -> Series:
    """The numbered pictures among a folder's file names.

    Args:
        names: All names in the folder.
        template: Format of the pictures' names; by default it is found out.

    Raises:
        FolderError: There are none, or several series, or one has a hole.
    """
    groups = _groups(names)
    if template:
        present = {key: numbers for key, numbers in groups.items() if _made_by(template, key)}
        if not present:
            raise FolderError(f"has no pictures named like {template.format(1)}")
    else:
        present = groups
    if not present:
        raise FolderError("is a folder without numbered pictures")
    key = _preferred(list(present))
    numbers = sorted(present[key])
    found = Series(template or _template(*key, numbers), numbers[0][0], len(numbers))
    for frame, (_, name) in enumerate(numbers):
        if found.name(frame) != name:
            raise FolderError(f"lacks {found.name(frame)}")
    return found


_Key = tuple[str, str]
_Groups = dict[_Key, list[tuple[int, str]]]


def _groups(names: Iterable[str]) -> _Groups:
    """Numbers and names of pictures by what stands before and after the number."""
    groups: _Groups = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match and not name.startswith("."):
            key = match["head"], match["tail"]
            groups.setdefault(key, []).append((int(match["number"]), name))
    return groups


def _made_by(template: str, key: _Key) -> bool:
    match = _NAME.fullmatch(template.format(1))
    return match is not None and (match["head"], match["tail"]) == key


def _preferred(keys: list[_Key]) -> _Key:
    if len(keys) == 1:
        return keys[0]
    for head in _PREFERRED:
        fitting = [key for key in keys if key[0] == head]
        if len(fitting) == 1:
            return fitting[0]
    shown = ", ".join(f"{head}*{tail}" for head, tail in sorted(keys)[:4])
    raise FolderError(f"holds several series of pictures ({shown}): set data.frame_template")


def _template(head: str, tail: str, numbers: list[tuple[int, str]]) -> str:
    width = len(numbers[0][1]) - len(head) - len(tail)  # of the smallest number
    head, tail = (part.replace("{", "{{").replace("}", "}}") for part in (head, tail))
    return f"{head}{{:0{width}d}}{tail}"


def frame_path(folder: str, template: str, first: int, frame: int) -> str:
    """Where a frame lies, counted from 0."""
    return os.path.join(folder, template.format(first + frame))  # noqa: PTH118 - many a batch
