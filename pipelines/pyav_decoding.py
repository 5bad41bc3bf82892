"""Decoding on the CPU by PyAV, for the codecs that DALI decodes only on a GPU (H.264, HEVC, ...).

The frames enter the same DALI graph as decoded pictures; crop, resize and flip are DALI's.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from tdn.pipelines.manifest import Clip


class DecodingError(Exception):
    """A file that could be read when it was indexed gives not the frames it should."""


def decode_frames(clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Decode chosen frames of a video, turned upright.

    Args:
        clip: The video.
        frames: (F,) frame numbers in the order of display, from 0, strictly rising.

    Returns:
        (F, H, W, 3) uint8 RGB, the clip's size after rotation.

    Raises:
        DecodingError: The file is gone, damaged, or has fewer frames or another size.
    """
    wanted = iter(frames.tolist())
    target = next(wanted)
    pictures: list[npt.NDArray[np.uint8]] = []
    try:
        with av.open(clip.path) as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DecodingError("its codec is unknown")
            stream.codec_context.thread_count = 1  # clips are decoded side by side instead
            for number, frame in enumerate(container.decode(stream)):
                if number != target:
                    continue
                if (frame.width, frame.height) != (clip.width, clip.height):
                    raise DecodingError(f"frame {number} has another size than the first")
                pictures.append(frame.to_ndarray(format="rgb24"))  # type: ignore[arg-type]
                following = next(wanted, None)
                if following is None:
                    break
                target = following
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise DecodingError(str(getattr(error, "strerror", None) or error).lower()) from None
    if len(pictures) < len(frames):
        raise DecodingError(f"frame {target} cannot be decoded")
    upright = np.rot90(np.stack(pictures), clip.rotation // 90, axes=(1, 2))
    return np.ascontiguousarray(upright)
