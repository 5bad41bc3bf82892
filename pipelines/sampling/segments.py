"""Which frames a clip is made of: segment starts, and the 5 frames of each segment.

Frame numbers are counted from 0 here and in everything the product returns. The rules are those of
the released code (paper section 3.1: sparse sampling of T segments).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FRAMES_PER_SEGMENT = 5

Frames = npt.NDArray[np.int64]


def train_starts(frames: int, segments: int, rng: np.random.Generator, stride: int = 1) -> Frames:
    """Random first frames of the segments, one in each of T equal parts of the video.

    Args:
        frames: Number of frames in the video, N >= 1.
        segments: Segments per clip, T >= 1.
        rng: Source of the random draws.
        stride: Frames from one frame of a segment to the next; 1 as published.

    Returns:
        (T,) first frames, from 0. Where the parts are shorter than one frame, T sorted draws; where
        even that cannot be, all 0.
    """
    last = frames - _reach(stride)  # number of starts from which a whole segment fits
    part = last // segments
    if part >= 1:
        return np.arange(segments) * part + rng.integers(part, size=segments)
    if last >= 1 and segments < frames:
        return np.sort(rng.integers(last, size=segments))
    return np.zeros(segments, np.int64)


def validation_starts(frames: int, segments: int, stride: int = 1) -> Frames:
    """First frames of the segments at the centres of T equal parts of the video.

    Args:
        frames: Number of frames in the video, N >= 1.
        segments: Segments per clip, T >= 1.
        stride: Frames from one frame of a segment to the next; 1 as published.

    Returns:
        (T,) first frames, from 0; all 0 for a video of at most T + 4 frames.
    """
    if frames <= segments + _reach(stride):
        return np.zeros(segments, np.int64)
    part = (frames - _reach(stride)) / segments
    return (part / 2.0 + part * np.arange(segments)).astype(np.int64)


def dense_starts(frames: int, segments: int, span: int, place: float) -> Frames:
    """First frames of segments that stand evenly in a part of the video.

    Args:
        frames: Number of frames in the video, N >= 1.
        segments: Segments per clip, T >= 1.
        span: Length of the part, frames; of a shorter video it is the whole.
        place: Where the part lies, from 0 (at the start) to 1 (at the end). Drawn from the numbers
            below 1, every start is as likely.

    Returns:
        (T,) first frames, from 0.
    """
    span = min(span, frames)
    start = min(int(place * (frames - span + 1)), frames - span)
    return start + np.arange(segments) * span // segments


def clip_frames(starts: Frames, frames: int, stride: int = 1) -> Frames:
    """Frame numbers of a clip: each start and its 4 successors; past the end, the last frame.

    Args:
        starts: (T,) first frames, from 0.
        frames: Number of frames in the video.
        stride: Frames from one frame of a segment to the next.

    Returns:
        (T, 5) frame numbers, from 0.
    """
    return np.minimum(starts[:, None] + stride * np.arange(FRAMES_PER_SEGMENT), frames - 1)


def _reach(stride: int) -> int:
    """From the first to the last frame of a segment."""
    return stride * (FRAMES_PER_SEGMENT - 1)
