"""Which frames a clip is made of: segment starts, and the 5 frames of each segment.

Frame numbers are counted from 0 here and in everything the product returns. The rules are those of
the released code (paper section 3.1: sparse sampling of T segments).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FRAMES_PER_SEGMENT = 5

Frames = npt.NDArray[np.int64]


def train_starts(frames: int, segments: int, rng: np.random.Generator) -> Frames:
    """Random first frames of the segments, one in each of T equal parts of the video.

    Args:
        frames: Number of frames in the video, N >= 1.
        segments: Segments per clip, T >= 1.
        rng: Source of the random draws.

    Returns:
        (T,) first frames, from 0. Where the parts are shorter than one frame, T sorted draws; where
        even that cannot be, all 0.
    """
    last = frames - FRAMES_PER_SEGMENT + 1  # number of starts from which 5 frames fit
    part = last // segments
    if part >= 1:
        return np.arange(segments) * part + rng.integers(part, size=segments)
    if last >= 1 and segments < frames:
        return np.sort(rng.integers(last, size=segments))
    return np.zeros(segments, np.int64)


def validation_starts(frames: int, segments: int) -> Frames:
    """First frames of the segments at the centres of T equal parts of the video.

    Args:
        frames: Number of frames in the video, N >= 1.
        segments: Segments per clip, T >= 1.

    Returns:
        (T,) first frames, from 0; all 0 for a video of at most T + 4 frames.
    """
    if frames <= segments + FRAMES_PER_SEGMENT - 1:
        return np.zeros(segments, np.int64)
    part = (frames - FRAMES_PER_SEGMENT + 1) / segments
    return (part / 2.0 + part * np.arange(segments)).astype(np.int64)


def clip_frames(starts: Frames, frames: int) -> Frames:
    """Frame numbers of a clip: each start and its 4 successors; past the end, the last frame.

    Args:
        starts: (T,) first frames, from 0.
        frames: Number of frames in the video.

    Returns:
        (T, 5) frame numbers, from 0.
    """
    return np.minimum(starts[:, None] + np.arange(FRAMES_PER_SEGMENT), frames - 1)
