"""All frames of a clip, one after the other: of a video, a folder of frames, or part of a shard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from tdn.pipelines.decoding.fetching import as_rgb, opened, picture_bytes
from tdn.pipelines.files.storage import patiently
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.plans import upright_size
from tdn.pipelines.videos.reading import DecodingError, cause_of, decoded_frames, open_video

_USUAL_RATE = Fraction(25)
"""Frames per second of what has no clock, or a senseless one."""


def iter_frames(clip: Clip, size: Size | None = None) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode every frame of a clip, in the order in which they are shown, one at a time.

    Frame n is the frame that training counts as n, whatever the time stamps say.

    Args:
        clip: What to decode.
        size: Height and width of the frames, upright; by default the clip's own. Frames of another
            size are resized (bicubic), straight from the decoder's pixels.

    Yields:
        (H, W, 3) uint8 RGB, turned upright.

    Raises:
        DecodingError: The file is gone, damaged, or has another number of frames than when it was
            indexed.
    """
    size, number = size or upright_size(clip), 0
    try:
        for frame in _pictures(clip, size) if clip.is_pictures else _video(clip, size):
            yield frame
            number += 1
    except OSError as error:
        raise DecodingError(f"cannot be read: {cause_of(error)}") from None
    if number != clip.frames:
        raise DecodingError(f"has {number} frames, but {clip.frames} when it was indexed")


def frame_rate(clip: Clip) -> Fraction:
    """Frames per second of a clip, on average; 25 where that is not known.

    Raises:
        DecodingError: The file cannot be opened.
    """
    if clip.is_pictures:
        return _USUAL_RATE
    try:
        with open_video(patiently(lambda: opened(clip)), as_declared=True) as video:
            rate = video.stream.average_rate
    except OSError as error:
        raise DecodingError(f"cannot be read: {cause_of(error)}") from None
    # Rates such as 90000 stand in for an unknown one.
    return rate.limit_denominator(1001) if rate and 1 <= rate <= 240 else _USUAL_RATE


def _video(clip: Clip, size: Size) -> Iterator[npt.NDArray[np.uint8]]:
    turns = clip.rotation // 90
    height, width = size[::-1] if turns % 2 else size  # before they are turned upright
    resizer = VideoReformatter()  # one for all frames: making it takes longer than its work
    with open_video(patiently(lambda: opened(clip))) as video:
        for frame in decoded_frames(video, plain=clip.plain):
            resized = resizer.reformat(
                frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1
            )
            yield np.rot90(resized.to_ndarray(), turns)


def _pictures(clip: Clip, size: Size) -> Iterator[npt.NDArray[np.uint8]]:
    for number in range(clip.frames):
        file = patiently(lambda number=number: picture_bytes(clip, number))  # type: ignore[misc]
        try:
            yield _picture(file, size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DecodingError(f"frame {number} cannot be decoded: {cause_of(error)}") from None


def _picture(file: bytes, size: Size) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(file)) as picture:
        frame = Image.fromarray(as_rgb(picture))
    if frame.size != size[::-1]:
        frame = frame.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(frame)
