"""The DALI graph: encoded video in, uint8 network input out. One graph for GPU and CPU.

Python sends a path and a few numbers per clip; DALI reads, decodes, cuts, resizes and mirrors.
Each distinct frame of a clip is decoded and resized once, however many segments share it, and is
copied to its places at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, pipeline_def, types

from tdn.pipelines.augmentation import Size
from tdn.pipelines.plans import View

INPUTS = (
    ("path", types.UINT8, 1),  # bytes of the file's path
    ("frames", types.INT32, 1),  # distinct frame numbers, rising
    ("order", types.INT32, 1),  # for each of T*5 places, which of the distinct frames
    ("by_dali", types.BOOL, 0),  # whether DALI decodes; else `pictures` holds the frames
    ("pictures", types.UINT8, 4),  # distinct frames decoded outside, (F, H, W, 3); or a dummy
    ("window", types.INT32, 1),  # y, x, height, width of the crop
    ("region", types.FLOAT, 1),  # y0, x0, y1, x1 within the window; x1 < x0 mirrors
)
"""The graph's inputs: name, type and number of dimensions of one clip's array."""


def build_graph(
    source: Callable[[Any], Any],
    *,
    target: Size,
    batch_size: int,
    num_threads: int,
    prefetch: int,
    device_id: int | None,
) -> Pipeline:
    """Define the graph; its first run instantiates it.

    Args:
        source: Called with DALI's batch information; returns a list of arrays, one per clip, for
            each of ``INPUTS``, or raises StopIteration.
        target: Height and width of the output.
        batch_size: Largest number of clips in a batch.
        num_threads: CPU threads.
        prefetch: Batches prepared ahead.
        device_id: GPU that decodes (NVDEC) and resizes, or None for the CPU.

    Returns:
        A pipeline with one output: (clips, T*5, height, width, 3) uint8.
    """
    return _graph(
        source,
        list(target),
        device_id is not None,
        batch_size=batch_size,
        num_threads=num_threads,
        prefetch_queue_depth=prefetch,
        device_id=device_id,
        # Outputs of the dynamic executor stay intact while they are held: zero copy needs that.
        exec_dynamic=True,
    )


@pipeline_def(enable_conditionals=True)
def _graph(source: Callable[[Any], Any], target: list[int], on_gpu: bool) -> Any:
    path, frames, order, by_dali, pictures, window, region = fn.external_source(
        source=source,
        num_outputs=len(INPUTS),
        batch=True,
        batch_info=True,
        dtype=[dtype for _, dtype, _ in INPUTS],
        ndim=[dimensions for _, _, dimensions in INPUTS],
    )
    if by_dali:
        # "none": a frame past the end is an error instead of a black or uninitialised picture.
        video = fn.decoders.video(
            fn.io.file.read(path),
            frames=frames,
            pad_mode="none",
            device="mixed" if on_gpu else "cpu",
        )
    else:
        video = fn.reinterpret(pictures.gpu() if on_gpu else pictures, layout="FHWC")
    video = fn.slice(video, window[0:2], window[2:4], axes=[1, 2])
    # With antialias, downscaling is within one grey level of PIL's bilinear resize.
    video = fn.resize(
        video,
        size=target,
        roi_start=region[0:2],
        roi_end=region[2:4],
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
    return fn.sequence_rearrange(video, new_order=order)


_DUMMY_PICTURES = np.zeros((1, 1, 1, 3), np.uint8)


def graph_inputs(
    view: View, pictures: npt.NDArray[np.uint8] | None
) -> tuple[npt.NDArray[Any], ...]:
    """The arrays of ``INPUTS`` for one view.

    Args:
        view: What to decode and cut out.
        pictures: Its distinct frames, already cut to the window, if DALI is not to decode it.
    """
    y, x, height, width = view.crop.window
    origin = (y, x) if pictures is None else (0, 0)
    distinct, order = np.unique(view.frames, return_inverse=True)
    return (
        np.frombuffer(view.clip.path.encode(), np.uint8),
        distinct.astype(np.int32),
        order.reshape(-1).astype(np.int32),
        np.array(pictures is None),
        _DUMMY_PICTURES if pictures is None else pictures,
        np.array((*origin, height, width), np.int32),
        np.array(view.crop.region, np.float32),
    )
