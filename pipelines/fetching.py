"""What Python fetches for a view before DALI can go on: parts of tar shards, decoded pictures.

DALI opens files by itself, and decodes most of what there is; the rest goes through here, in
threads, while earlier batches are in work.
"""

from __future__ import annotations

import io
import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.pipelines.frame_folders import frame_path
from tdn.pipelines.manifest import Clip
from tdn.pipelines.plans import View
from tdn.pipelines.pyav_decoding import DecodingError, decode_frames
from tdn.pipelines.shard_reading import read_part


class Fetched(NamedTuple):
    """What was fetched of a view: one of the two, or nothing where DALI reads the files."""

    encoded: list[npt.NDArray[np.uint8]] | None = None
    """Bytes of the video, or of each distinct frame."""
    pictures: npt.NDArray[np.uint8] | None = None
    """(F, H, W, 3): the distinct frames, rising, cut to the crop's window."""


def must_fetch(clip: Clip, by_dali: bool) -> bool:
    """Whether DALI cannot do by itself; ``by_dali``: whether it decodes the clip."""
    return bool(clip.offsets) or not by_dali


def fetch(view: View, by_dali: bool) -> Fetched:
    """Fetch what DALI needs of a view.

    Raises:
        DecodingError: The file is gone, damaged, or not what it was when it was indexed.
    """
    clip = view.clip
    try:
        if clip.is_pictures:
            return _fetch_pictures(view, by_dali)
        if not by_dali:
            return Fetched(pictures=decode_frames(view, opened(clip)))
        return Fetched(
            [np.frombuffer(read_part(clip.path, clip.offsets[0], clip.sizes[0]), np.uint8)]
        )
    except OSError as error:
        raise DecodingError(str(error.strerror or error).lower()) from None


def opened(clip: Clip) -> str | io.BytesIO:
    """A video as PyAV takes it: its path, or its part of a shard."""
    if not clip.offsets:
        return clip.path
    return io.BytesIO(read_part(clip.path, clip.offsets[0], clip.sizes[0]))


def picture_bytes(clip: Clip, frame: int) -> bytes:
    """The file of one frame, counted from 0, of a clip whose frames are pictures."""
    if clip.offsets:
        return read_part(clip.path, clip.offsets[frame], clip.sizes[frame])
    with open(picture_path(clip, frame), "rb") as file:  # noqa: PTH123 - many a batch
        return file.read()


def picture_path(clip: Clip, frame: int) -> str:
    """Where one frame, counted from 0, of a folder of frames lies."""
    return frame_path(clip.path, clip.template, clip.first, frame)


def _fetch_pictures(view: View, by_dali: bool) -> Fetched:
    files = [picture_bytes(view.clip, int(frame)) for frame in np.unique(view.frames)]
    if by_dali:
        return Fetched([np.frombuffer(file, np.uint8) for file in files])
    return Fetched(pictures=np.stack([_decode(view, file) for file in files]))


def _decode(view: View, file: bytes) -> npt.NDArray[np.uint8]:
    top, left, height, width = view.crop.window
    try:
        with Image.open(io.BytesIO(file)) as picture:
            if picture.size != (view.clip.width, view.clip.height):
                raise DecodingError("one of its pictures has another size than the first")
            window = picture.crop((left, top, left + width, top + height))
            return np.asarray(window.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DecodingError(f"one of its pictures cannot be decoded: {error}") from None


def change_of(clip: Clip) -> str:
    """How a file differs from what was indexed, "" if it does not.

    A file that was cut short since must not reach the decoder: for some containers DALI trusts the
    header's frame count and returns uninitialised pictures.
    """
    try:
        size = os.stat(clip.path).st_size  # noqa: PTH116 - called for every clip
    except OSError as error:
        return str(error.strerror).lower()
    if clip.offsets or clip.is_pictures or size == clip.size:
        return ""
    return f"has {size} bytes, but {clip.size} when it was indexed"
