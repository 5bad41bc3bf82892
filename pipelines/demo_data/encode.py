"""Frames to a video file, the same bytes every time: VP9 in WebM, H.264 in MP4, MJPEG in AVI."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import cast

import av
import numpy as np

from tdn.errors import UserError

FRAMES_PER_SECOND = 12


@dataclass(frozen=True)
class Codec:
    """How to encode: FFmpeg's names of encoder, container and pixel format, and the options."""

    encoder: str
    container: str
    suffix: str
    pixel_format: str
    options: dict[str, str]


CODECS = {
    # Constant quality; the real-time mode is ten times faster and the files hardly larger. A key
    # frame every two seconds, so that a decoder has something to seek to.
    "vp9": Codec(
        "libvpx-vp9",
        "webm",
        ".webm",
        "yuv420p",
        {"crf": "34", "b": "0", "deadline": "realtime", "cpu-used": "8", "g": "24"},
    ),
    # Without macroblock-tree rate control, with which x264 gives other bytes once in some hundred
    # runs even on one thread.
    "h264": Codec(
        "libx264",
        "mp4",
        ".mp4",
        "yuv420p",
        {"crf": "23", "preset": "veryfast", "g": "24", "mbtree": "0"},
    ),
    "mjpeg": Codec("mjpeg", "avi", ".avi", "yuvj420p", {"qmin": "7", "qmax": "7"}),
}


def find_codec(name: str) -> Codec:
    """The codec of this name; UserError if there is none or PyAV was built without it."""
    if name not in CODECS:
        raise UserError(f"--codec {name}: unknown, choose one of {', '.join(CODECS)}")
    codec = CODECS[name]
    if codec.encoder not in av.codecs_available:
        raise UserError(
            f"--codec {name}: this PyAV has no encoder {codec.encoder}, choose another codec "
            "or install PyAV from PyPI"
        )
    return codec


def encode_video(frames: np.ndarray, codec: Codec) -> bytes:
    """Encode RGB frames, uint8 (F, H, W, 3) with even H and W, at 12 frames per second.

    One thread and no dates or random identifiers: equal frames give equal bytes.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=codec.container, options={"fflags": "+bitexact"}) as container:
        stream = cast(
            av.VideoStream,
            container.add_stream(codec.encoder, rate=FRAMES_PER_SECOND, options=codec.options),
        )
        _, stream.height, stream.width, _ = frames.shape
        stream.pix_fmt = codec.pixel_format
        stream.thread_count = 1
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
