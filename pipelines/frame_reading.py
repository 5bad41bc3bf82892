"""All frames of a clip, one after the other: of a video, a folder of frames, or part of a shard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import av.logging
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation
from PIL import Image

from tdn.pipelines.augmentation import Size
from tdn.pipelines.fetching import opened, picture_bytes
from tdn.pipelines.manifest import Clip
from tdn.pipelines.plans import upright_size
from tdn.pipelines.pyav_decoding import DecodingError

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
    size = size or upright_size(clip)
    number = 0
    try:
        for frame in _pictures(clip, size) if clip.is_pictures else _video(clip, size):
            yield frame
            number += 1
    except (av.error.FFmpegError, OSError, IndexError, ValueError, SyntaxError) as error:
        raise DecodingError(f"frame {number} cannot be decoded: {_words(error)}") from None
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
        with av.open(opened(clip), "r", metadata_errors="ignore") as container:
            rate = container.streams.video[0].average_rate
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise DecodingError(_words(error)) from None
    # Rates such as 90000 stand in for an unknown one.
    return rate.limit_denominator(1001) if rate and 1 <= rate <= 240 else _USUAL_RATE


def _video(clip: Clip, size: Size) -> Iterator[npt.NDArray[np.uint8]]:
    turns = clip.rotation // 90
    height, width = size[::-1] if turns % 2 else size  # before they are turned upright
    for frame in _decoded(clip):
        resized = frame.reformat(
            width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1
        )
        yield np.rot90(resized.to_ndarray(), turns)


def _decoded(clip: Clip) -> Iterator[av.VideoFrame]:
    """The frames of the packets that were counted when the clip was indexed."""
    av.logging.set_level(None)
    with av.open(opened(clip), "r", metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None:
            raise DecodingError("its codec is unknown")
        codec.thread_count = 1  # clips are decoded side by side instead
        for packet in container.demux(stream):
            if packet.is_corrupt:
                break  # the rest of a truncated file
            if packet.size:  # an empty one would end the decoder's work
                yield from packet.decode()
        yield from codec.decode(None)


def _pictures(clip: Clip, size: Size) -> Iterator[npt.NDArray[np.uint8]]:
    height, width = size
    for number in range(clip.frames):
        with Image.open(io.BytesIO(picture_bytes(clip, number))) as picture:
            frame = picture.convert("RGB")
        if frame.size != (width, height):
            frame = frame.resize((width, height), Image.Resampling.BICUBIC)
        yield np.asarray(frame)


def _words(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).lower()
