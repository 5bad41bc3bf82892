"""Folders of frames: how their pictures are named, and how many there are.

The released code's templates are ``{:05d}.jpg`` (Something-Something V1), ``{:06d}.jpg`` (V2),
``img_{:05d}.jpg`` and ``image_{:05d}.jpg`` (UCF101, HMDB51, Kinetics).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from string import Formatter
from typing import NamedTuple

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Endings of pictures that can be frames, in lower case."""

PICTURE_CODECS = frozenset({"jpeg", "png", "webp", "bmp"})
"""Names of picture formats in a manifest, as against FFmpeg's names of video codecs."""

_PREFERRED = ("", "img_", "image_", "frame_")
"""Where a folder holds several series, such as optical flow beside the frames, these are frames."""
_NAME = re.compile(
    r"(?P<head>.*?)(?P<number>0*[0-9]{1,9})(?P<tail>\.(?:jpg|jpeg|png|webp|bmp))", re.I | re.S
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
    if template:
        numbers = _numbers(names, *_around(template))
        if not numbers:
            raise FolderError(f"has no pictures named like {template.format(1)}")
    else:
        groups = _groups(names)
        if not groups:
            raise FolderError("is a folder without numbered pictures")
        head, tail = _preferred(list(groups))
        numbers = groups[head, tail]
        template = _template(head, tail, min(numbers)[1])
    numbers.sort()
    found = Series(template, numbers[0][0], len(numbers))
    for frame, (_, name) in enumerate(numbers):
        if found.name(frame) != name:
            raise FolderError(f"lacks {found.name(frame)}")
    return found


def is_frame(name: str) -> bool:
    """Whether a file's name is that of a numbered picture."""
    return _NAME.fullmatch(name) is not None and not name.startswith(".")


def is_template(text: str) -> bool:
    """Whether text is a format of picture names: a file name with one number in it."""
    try:
        fields = [part[1] for part in Formatter().parse(text) if part[1] is not None]
        return len(fields) == 1 and "/" not in text and text.format(1) != text.format(2)
    except (ValueError, LookupError, AttributeError, TypeError):
        return False


_Numbers = list[tuple[int, str]]
"""Numbers of pictures, and their names."""


def _groups(names: Iterable[str]) -> dict[tuple[str, str], _Numbers]:
    """Pictures by what stands before and after the number."""
    groups: dict[tuple[str, str], _Numbers] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match and not name.startswith("."):
            key = match["head"], match["tail"]
            groups.setdefault(key, []).append((int(match["number"]), name))
    return groups


def _numbers(names: Iterable[str], head: str, tail: str) -> _Numbers:
    """Pictures whose names are digits between two texts."""
    wanted = re.compile(f"{re.escape(head)}(0*[0-9]{{1,9}}){re.escape(tail)}", re.S)
    return [(int(match[1]), name) for name in names if (match := wanted.fullmatch(name))]


def _around(template: str) -> tuple[str, str]:
    """What stands before and after a template's number."""
    head, tail = "", ""
    number = False
    for text, field, _, _ in Formatter().parse(template):
        head, tail = (head, tail + text) if number else (head + text, tail)
        number = number or field is not None
    return head, tail


def _preferred(keys: list[tuple[str, str]]) -> tuple[str, str]:
    if len(keys) == 1:
        return keys[0]
    for head in _PREFERRED:
        fitting = [key for key in keys if key[0] == head]
        if len(fitting) == 1:
            return fitting[0]
    shown = ", ".join(f"{head}*{tail}" for head, tail in sorted(keys)[:4])
    raise FolderError(f"holds several series of pictures ({shown}): set data.frame_template")


def _template(head: str, tail: str, smallest: str) -> str:
    """Of a series, given the name with the smallest number."""
    width = len(smallest) - len(head) - len(tail)
    head, tail = (part.replace("{", "{{").replace("}", "}}") for part in (head, tail))
    return f"{head}{{:0{width}d}}{tail}"


def frame_path(folder: str, template: str, first: int, frame: int) -> str:
    """Where a frame lies, counted from 0."""
    return os.path.join(folder, template.format(first + frame))  # noqa: PTH118 - many a batch
