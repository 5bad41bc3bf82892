"""Decoding on the CPU by PyAV, for the codecs that DALI decodes only on a GPU (H.264, HEVC, ...).

The frames enter the same DALI graph as decoded pictures; crop, resize and flip are DALI's.
"""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tdn.pipelines.plans import View


class DecodingError(Exception):
    """A file that could be read when it was indexed gives not the frames it should."""


def decode_frames(view: View, file: str | io.BytesIO) -> npt.NDArray[np.uint8]:
    """Decode the distinct frames of a view, turned upright, and cut out its window.

    Only the window is kept: whole frames of high-resolution video would fill the memory.

    Args:
        view: Frames and window of a video.
        file: Where the video is.

    Returns:
        (F, H, W, 3) uint8 RGB: the distinct frames, rising; the size of the crop's window.

    Raises:
        DecodingError: The file is gone, damaged, or has fewer frames or another size.
    """
    clip, (top, left, height, width) = view.clip, view.crop.window
    wanted = iter(np.unique(view.frames).tolist())
    target = next(wanted)
    pictures: list[npt.NDArray[Any]] = []
    try:
        with av.open(file, "r", metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DecodingError("its codec is unknown")
            stream.codec_context.thread_count = 1  # clips are decoded side by side instead
            for number, frame in enumerate(container.decode(stream)):
                if number != target:
                    continue
                if (frame.width, frame.height) != (clip.width, clip.height):
                    raise DecodingError(f"frame {number} has another size than the first")
                picture = np.rot90(frame.to_ndarray(format="rgb24"), clip.rotation // 90)
                pictures.append(picture[top : top + height, left : left + width].copy())
                target = next(wanted, -1)
                if target < 0:
                    return np.stack(pictures)
    except (av.error.FFmpegError, OSError, IndexError, ValueError) as error:
        raise DecodingError(str(getattr(error, "strerror", None) or error).lower()) from None
    raise DecodingError(f"frame {target} cannot be decoded")
