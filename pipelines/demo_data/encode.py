"""Frames to a video file, the same bytes every time: VP9 in WebM, H.264 in MP4, MJPEG in AVI."""

from __future__ import annotations

import io

import numpy as np

from tdn.errors import UserError
from tdn.pipelines.videos import encoding as video_encoding
from tdn.pipelines.videos.encoding import Codec

FRAMES_PER_SECOND = 12

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
    if not codec.available:
        raise UserError(
            f"--codec {name}: this PyAV has no encoder {codec.encoder}, choose another codec "
            "or install PyAV from PyPI"
        )
    return codec


def encode_video(frames: np.ndarray, codec: Codec) -> bytes:
    """Encode RGB frames, uint8 (F, H, W, 3) with even H and W, at 12 frames per second.

    Equal frames give equal bytes.
    """
    buffer = io.BytesIO()
    video_encoding.encode_video(buffer, frames, codec, FRAMES_PER_SECOND)
    return buffer.getvalue()
