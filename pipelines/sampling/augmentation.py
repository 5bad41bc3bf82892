"""Where a view is cut from a frame: the training crop, the validation crop, the mirror flip.

A crop is what the DALI graph needs: an integer window of the frame, and a region of interest inside
that window which is resized to the network's input. The same crop holds for all frames of a clip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Size = tuple[int, int]
"""(height, width) in pixels."""


def as_size(side: int | Sequence[int]) -> Size:
    """A size in pixels, given as one number for a square or as (height, width)."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])


class Crop(NamedTuple):
    """A part of a frame. All in pixels of the frame, y before x."""

    window: tuple[int, int, int, int]
    """y, x, height, width of what the resize may look at."""
    region: tuple[float, float, float, float]
    """y0, x0, y1, x1 relative to the window: what is resized to the input."""


def training_crop(
    frame: Size, target: Size, scales: Sequence[float], rng: np.random.Generator
) -> Crop:
    """Multi-scale crop at one of 13 fixed offsets, as the released code draws it.

    Args:
        frame: Size of the video's frames.
        target: Size of the network's input.
        scales: Crop sides as fractions of the largest crop of the target's shape.
        rng: Source of the two draws: size, then offset.

    Returns:
        A crop whose region is its whole window.
    """
    sizes = crop_sizes(frame, target, scales)
    height, width = sizes[rng.integers(len(sizes))]
    offsets = crop_offsets(frame, (height, width))
    y, x = offsets[rng.integers(len(offsets))]
    return Crop((y, x, height, width), (0.0, 0.0, float(height), float(width)))


def crop_sizes(frame: Size, target: Size, scales: Sequence[float]) -> list[Size]:
    """The crop sizes to draw from: pairs of sides whose scales are at most one step apart.

    A side within 2 pixels of the target's is taken as the target's, so that nothing is resampled,
    unless the frame is smaller than that.
    """
    (rows, columns), (target_rows, target_columns) = frame, target
    if rows * target_columns <= columns * target_rows:
        base = rows, rows * target_columns // target_rows
    else:
        base = columns * target_rows // target_columns, columns

    def sides(whole: int, wanted: int, limit: int) -> list[int]:
        scaled = (max(1, int(whole * scale)) for scale in scales)
        return [wanted if abs(s - wanted) <= 2 and wanted <= limit else s for s in scaled]

    heights = sides(base[0], target_rows, rows)
    widths = sides(base[1], target_columns, columns)
    pairs = itertools.product(enumerate(heights), enumerate(widths))
    return [(height, width) for (i, height), (j, width) in pairs if abs(i - j) <= 1]


def crop_offsets(frame: Size, crop: Size) -> list[tuple[int, int]]:
    """The 13 offsets (y, x) of a crop, in quarters of the room it leaves in the frame.

    Corners, centre, middles of the edges, then the centres of the four quadrants.
    """
    y, x = (frame[0] - crop[0]) // 4, (frame[1] - crop[1]) // 4
    quarters = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2)]
    quarters += [(1, 1), (1, 3), (3, 1), (3, 3)]
    return [(down * y, right * x) for down, right in quarters]


def validation_crop(frame: Size, target: Size, short_side: int) -> Crop:
    """The centre crop of the frame resized to a short side, as one region of the original frame.

    Args:
        frame: Size of the video's frames.
        target: Size of the network's input.
        short_side: Shorter side after the resize, pixels; where a target side would not fit, the
            frame is resized just enough for it to fit.
    """
    resized = _resized(frame, target, short_side)
    y, x = (round((resized[axis] - target[axis]) / 2.0) for axis in range(2))
    return _cut(frame, resized, (y, x), target)


def protocol_crops(frame: Size, target: Size, short_side: int, count: int) -> list[Crop]:
    """The crops of one of the published test protocols, as regions of the original frame.

    Args:
        frame: Size of the video's frames.
        target: Size of the network's input.
        short_side: Shorter side after the resize, pixels; as in ``validation_crop``.
        count: 1, the centre; 3, both ends of the longer side, then the centre (of a frame that is
            wider than high: left, right, centre); 5, the corners, then the centre; 10, these 5 and
            then their mirror images.

    Returns:
        ``count`` crops.
    """
    if count == 1:
        return [validation_crop(frame, target, short_side)]
    resized = _resized(frame, target, short_side)
    down, right = (((resized[axis] - target[axis]) // 4) for axis in range(2))
    centre = (2, 2)
    ends = [(2, 0), (2, 4)] if frame[1] >= frame[0] else [(0, 2), (4, 2)]
    quarters = ends if count == 3 else [(0, 0), (0, 4), (4, 0), (4, 4)]
    offsets = [(y * down, x * right) for y, x in [*quarters, centre]]
    crops = [_cut(frame, resized, offset, target) for offset in offsets]
    return crops + [mirrored(crop) for crop in crops] if count == 10 else crops


def _cut(frame: Size, resized: Size, offset: tuple[int, int], target: Size) -> Crop:
    """A crop of the resized frame as a region of the original one.

    Resizing only the region gives the pixels of resizing everything and then cropping: the window
    is larger than the region by the reach of the interpolation.
    """
    start, end, reach = [], [], []
    for axis in range(2):
        step = frame[axis] / resized[axis]  # frame pixels per resized pixel
        start.append(offset[axis] * step)
        end.append((offset[axis] + target[axis]) * step)
        reach.append(math.ceil(max(step, 1.0)) + 1)
    top, left = (max(0, math.floor(start[axis]) - reach[axis]) for axis in range(2))
    bottom, right = (min(frame[axis], math.ceil(end[axis]) + reach[axis]) for axis in range(2))
    return Crop(
        (top, left, bottom - top, right - left),
        (start[0] - top, start[1] - left, end[0] - top, end[1] - left),
    )


def _resized(frame: Size, target: Size, short_side: int) -> Size:
    rows, columns = frame
    short_is_rows = rows <= columns
    size = _with_side(frame, 0 if short_is_rows else 1, short_side)
    for axis in range(2):
        if size[axis] < target[axis]:
            size = _with_side(frame, axis, target[axis])
    return size


def _with_side(frame: Size, axis: int, length: int) -> Size:
    """The frame's size when one side is made `length` pixels long; the other is rounded down."""
    other = max(1, length * frame[1 - axis] // frame[axis])
    return (length, other) if axis == 0 else (other, length)


def mirrored(crop: Crop) -> Crop:
    """The same crop, flipped left to right: a region that runs from right to left."""
    y0, x0, y1, x1 = crop.region
    return crop._replace(region=(y0, x1, y1, x0))
