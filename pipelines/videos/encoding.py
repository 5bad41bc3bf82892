"""Frames to a video file, the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

import av
import numpy as np
import numpy.typing as npt

from tdn.errors import UserError


@dataclass(frozen=True)
class Codec:
    """How to encode: FFmpeg's names of encoder, container and pixel format, and the options."""

    encoder: str
    container: str
    suffix: str
    pixel_format: str
    options: dict[str, str]

    @property
    def available(self) -> bool:
        """Whether this PyAV was built with the encoder."""
        return self.encoder in av.codecs_available

    def check(self, path: Path) -> None:
        """Refuse to write a file without the encoder.

        Raises:
            UserError: PyAV was built without it.
        """
        if not self.available:
            raise UserError(f"{path}: this PyAV has no {self.encoder} to encode it; pip install av")


def encode_video(
    file: str | IO[bytes],
    frames: Iterable[npt.NDArray[np.uint8]],
    codec: Codec,
    rate: int | Fraction,
) -> int:
    """Encode frames at a constant rate.

    One thread and no dates or random identifiers: equal frames give equal bytes.

    Args:
        file: Where to: a path, or an open file that is seekable.
        frames: (H, W, 3) uint8 RGB, all of one size, with even H and W.
        codec: How.
        rate: Frames per second.

    Returns:
        How many frames there were.

    Raises:
        av.error.FFmpegError: The encoder cannot, or (an OSError, too) a path cannot be written.
    """
    count = 0
    options = {"fflags": "+bitexact"}
    with (
        usual_scheduling(),
        av.open(file, "w", format=codec.container, options=options) as container,
    ):
        stream = cast(
            av.VideoStream, container.add_stream(codec.encoder, rate=rate, options=codec.options)
        )
        stream.pix_fmt = codec.pixel_format
        stream.thread_count = 1
        for picture in frames:
            if not count:
                stream.height, stream.width, _ = picture.shape
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
            count += 1
        if count:
            container.mux(stream.encode())
    return count


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Leave this thread scheduled as it was, whatever an encoder makes of it.

    SVT-AV1, if root runs it, makes the thread that encodes a real-time one and leaves it so. What
    that thread starts is one, too, and those that they wait for get no time: the program stands
    still with all cores busy.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)
