"""What the graphs of videos and of pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from nvidia.dali import fn, types

from tdn.pipelines.graphs.resizing import resize_region
from tdn.pipelines.sampling.augmentation import Size

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


def read_file(path: Any) -> Any:
    """A file's bytes.

    Not mapped into memory: where the storage fails, or a file is cut short meanwhile, looking at a
    mapped page kills the process; a read that fails is an error.
    """
    return fn.io.file.read(path, dont_use_mmap=True)


def cut_and_resize(frames: Any, region: Any, target: Size, *, layout: str, on_gpu: bool) -> Any:
    """Resize a region of frames; where it runs from right to left, they are mirrored.

    Within one grey level of Pillow's bilinear resize, downscaling too: with antialias.

    Args:
        frames: DALI's node of frames.
        region: Node of y0, x0, y1, x1 in pixels.
        target: Height and width of the result.
        layout: "FHWC", or "HWC" where a sample is one frame.
        on_gpu: Where the frames are.
    """
    if not on_gpu:
        resize = partial(resize_region, target=target)
        return fn.python_function(frames, region, function=resize, output_layouts=layout)
    return fn.resize(
        frames,
        size=target,
        roi_start=region[0:2],
        roi_end=region[2:4],
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
