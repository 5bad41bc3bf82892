"""What Python fetches for a view before DALI can go on: pictures, parts of shards, odd videos.

On a GPU, DALI opens video files by itself and decodes most of what there is; the rest, and videos
on the CPU, go through here, in threads, while earlier batches are in work.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.pipelines.decoding.excerpts import excerpt, pays
from tdn.pipelines.decoding.jpeg_headers import HeaderError, jpeg_size
from tdn.pipelines.decoding.pyav_decoding import decode_frames
from tdn.pipelines.files.frame_folders import frame_path
from tdn.pipelines.files.shard_reading import read_part
from tdn.pipelines.files.storage import patiently
from tdn.pipelines.manifests.file_checks import FileChecks
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.plans import View
from tdn.pipelines.videos.reading import DecodingError, cause_of


class Fetched(NamedTuple):
    """What was fetched of a view: bytes or pictures, or nothing where DALI reads the file."""

    encoded: list[npt.NDArray[np.uint8]] | None = None
    """Bytes of the video or of an excerpt of it, or of each distinct frame."""
    pictures: npt.NDArray[np.uint8] | None = None
    """(F, H, W, 3): the distinct frames, rising, cut to the crop's window."""
    frames: npt.NDArray[np.int64] | None = None
    """Of an excerpt: the distinct frames' numbers in it."""


def fetch(view: View, by_dali: bool, checks: FileChecks) -> Fetched:
    """Check a view's file, and fetch what DALI needs of it.

    Args:
        view: What will be decoded.
        by_dali: Whether DALI decodes the clip. It opens videos by itself, but not in shards.
        checks: Of the manifest's files.

    Raises:
        DecodingError: The file is gone, damaged, or not what it was when it was indexed.
    """
    try:
        change = checks.change(view.clip)
        if change:
            raise DecodingError(change)
        alone = not view.clip.offsets and not view.clip.is_pictures
        if by_dali and alone and not pays(view.clip, np.unique(view.frames)):
            return Fetched()
        return patiently(lambda: _fetch(view, by_dali))
    except OSError as error:
        raise DecodingError(f"cannot be read: {cause_of(error)}") from None


def _fetch(view: View, by_dali: bool) -> Fetched:
    clip = view.clip
    if clip.is_pictures:
        return _fetch_pictures(view, by_dali)
    content, frames = None, np.unique(view.frames)
    if pays(clip, frames):
        content, frames = excerpt(opened(clip), frames)
    if not by_dali:
        file = opened(clip) if content is None else io.BytesIO(content)
        return Fetched(pictures=decode_frames(view, file, frames))
    if content is None:
        content = read_part(clip.path, clip.offsets[0], clip.sizes[0])
    return Fetched([np.frombuffer(content, np.uint8)], frames=frames)


def opened(clip: Clip) -> str | io.BytesIO:
    """A video as PyAV takes it: its path, or its part of a shard."""
    if not clip.offsets:
        return clip.path
    return io.BytesIO(read_part(clip.path, clip.offsets[0], clip.sizes[0]))


def picture_bytes(clip: Clip, frame: int) -> bytes:
    """The file of one frame, counted from 0, of a clip whose frames are pictures."""
    if clip.offsets:
        return read_part(clip.path, clip.offsets[frame], clip.sizes[frame])
    path = frame_path(clip.path, clip.template, clip.first, frame)
    with open(path, "rb") as file:  # noqa: PTH123 - many a batch
        return file.read()


def _fetch_pictures(view: View, by_dali: bool) -> Fetched:
    numbers = np.unique(view.frames).tolist()
    files = [picture_bytes(view.clip, number) for number in numbers]
    if not by_dali:
        pictures = [decode_picture(view, *item) for item in zip(numbers, files, strict=True)]
        return Fetched(pictures=np.stack(pictures))
    for number, file in zip(numbers, files, strict=True):
        try:
            size = jpeg_size(file)
        except HeaderError as error:
            raise DecodingError(f"frame {number} {error}") from None
        _check_size(view.clip, number, size)
    return Fetched([np.frombuffer(file, np.uint8) for file in files])


def _check_size(clip: Clip, number: int, size: tuple[int, int]) -> None:
    if size != (clip.width, clip.height):
        raise DecodingError(f"frame {number} has another size than the first")


def decode_picture(view: View, number: int, file: bytes) -> npt.NDArray[np.uint8]:
    """A picture's pixels in the view's window, (H, W, 3), by Pillow.

    Raises:
        DecodingError: It is damaged, or has another size than the clip.
    """
    top, left, height, width = view.crop.window
    try:
        with Image.open(io.BytesIO(file)) as picture:
            _check_size(view.clip, number, picture.size)
            window = picture.crop((left, top, left + width, top + height))
            return as_rgb(window)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DecodingError(f"frame {number} cannot be decoded: {cause_of(error)}") from None


def as_rgb(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """A picture's pixels, (H, W, 3)."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return np.asarray(picture.convert("RGB"))
