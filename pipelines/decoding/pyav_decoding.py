"""Decoding on the CPU by PyAV, of all that DALI does not decode.

The frames enter the same DALI graph as decoded pictures; crop, resize and flip are DALI's.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from tdn.pipelines.sampling.plans import View
from tdn.pipelines.videos.reading import DecodingError, decoded_frames, open_video


def decode_frames(
    view: View, file: str | io.BytesIO, numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Decode the distinct frames of a view, turned upright, and cut out its window.

    Only the window is kept: whole frames of high-resolution video would fill the memory.

    Args:
        view: Frames and window of a video.
        file: The video, or an excerpt of it.
        numbers: The distinct frames' numbers in it, rising.

    Returns:
        (F, H, W, 3) uint8 RGB: the distinct frames, rising; the size of the crop's window.

    Raises:
        DecodingError: The file is damaged, or has fewer frames or another size.
        OSError: The storage fails.
    """
    clip, (top, left, height, width) = view.clip, view.crop.window
    wanted = numbers.tolist()
    pictures = np.empty((len(wanted), height, width, 3), np.uint8)
    # One for all frames: those that frames make for themselves take longer to be made than to do
    # their work, and start a thread for every core.
    colours = VideoReformatter()
    done = 0
    with open_video(file) as video:
        for number, frame in enumerate(decoded_frames(video, plain=clip.plain)):
            if number != wanted[done]:
                continue
            if (frame.width, frame.height) != (clip.width, clip.height):
                raise DecodingError(f"frame {number} has another size than the first")
            picture = colours.reformat(frame, format="rgb24", threads=1).to_ndarray()
            upright = np.rot90(picture, clip.rotation // 90)
            pictures[done] = upright[top : top + height, left : left + width]
            done += 1
            if done == len(wanted):
                return pictures
    raise DecodingError(f"frame {wanted[done]} is missing")
