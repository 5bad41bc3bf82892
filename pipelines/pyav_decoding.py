"""Decoding on the CPU by PyAV, of all that DALI does not decode.

The frames enter the same DALI graph as decoded pictures; crop, resize and flip are DALI's.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from tdn.pipelines.plans import View
from tdn.pipelines.video_reading import DecodingError, decoded_frames, open_video


def decode_frames(view: View, file: str | io.BytesIO) -> npt.NDArray[np.uint8]:
    """Decode the distinct frames of a view, turned upright, and cut out its window.

    Only the window is kept: whole frames of high-resolution video would fill the memory.

    Args:
        view: Frames and window of a video.
        file: Where the video is.

    Returns:
        (F, H, W, 3) uint8 RGB: the distinct frames, rising; the size of the crop's window.

    Raises:
        DecodingError: The file is damaged, or has fewer frames or another size.
        OSError: The storage fails.
    """
    clip, (top, left, height, width) = view.clip, view.crop.window
    wanted = iter(np.unique(view.frames).tolist())
    target = next(wanted)
    pictures: list[npt.NDArray[Any]] = []
    with open_video(file) as (container, stream):
        for number, frame in enumerate(decoded_frames(container, stream)):
            if number != target:
                continue
            if (frame.width, frame.height) != (clip.width, clip.height):
                raise DecodingError(f"frame {number} has another size than the first")
            picture = np.rot90(frame.to_ndarray(format="rgb24"), clip.rotation // 90)
            pictures.append(picture[top : top + height, left : left + width].copy())
            target = next(wanted, -1)
            if target < 0:
                return np.stack(pictures)
    raise DecodingError(f"frame {target} is missing")
