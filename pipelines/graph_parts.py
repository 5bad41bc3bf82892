"""What the graphs of videos and of pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nvidia.dali import fn, types

FILE, BYTES, PICTURES, REPEAT = range(4)
"""What Python sends of a sample: a path; the encoded file; decoded pictures; or nothing, because
another sample of the batch is the same."""

NOTHING = np.zeros(1, np.uint8)
"""Stands for encoded data where there is none."""


def external(source: Callable[[Any], Any], inputs: Sequence[tuple[str, Any, int]]) -> Any:
    """The graph's inputs, one node for each: name, type and number of dimensions."""
    return fn.external_source(
        source=source,
        num_outputs=len(inputs),
        batch=True,
        batch_info=True,
        dtype=[dtype for _, dtype, _ in inputs],
        ndim=[dimensions for _, _, dimensions in inputs],
    )


def cut_and_resize(frames: Any, region: Any, target: list[int]) -> Any:
    """Resize a region of frames; where it runs from right to left, they are mirrored.

    With antialias, downscaling is within one grey level of PIL's bilinear resize.
    """
    return fn.resize(
        frames,
        size=target,
        roi_start=region[0:2],
        roi_end=region[2:4],
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
