"""The DALI graph of pictures: folders of JPEG frames in, uint8 network input out.

A sample of DALI's batch is a frame: of each only the crop's window is decoded (nvJPEG on a GPU).
Frames that segments share are decoded once and copied to their places at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, pipeline_def, types

from tdn.pipelines.decoding.decoders import pictures_by_dali
from tdn.pipelines.decoding.fetching import Fetched
from tdn.pipelines.graphs.graph import Graph
from tdn.pipelines.graphs.parts import (
    BYTES,
    NOTHING,
    PICTURES,
    REPEAT,
    cut_and_resize,
    external,
)
from tdn.pipelines.graphs.photometric_nodes import Effects, look_values, photometric
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.plans import View

INPUTS = (
    ("kind", types.INT32, 0),  # BYTES, PICTURES or REPEAT
    ("encoded", types.UINT8, 1),  # BYTES: the file
    ("picture", types.UINT8, 3),  # PICTURES: the frame, decoded and cut, (H, W, 3)
    ("order", types.INT32, 0),  # which sample of the batch to take in this place
    ("window", types.INT32, 1),  # y, x, height, width of the crop, which PICTURES are cut to
    ("region", types.FLOAT, 1),  # y0, x0, y1, x1 within the window; x1 < x0 mirrors
)
"""The graph's inputs: name, type and number of dimensions of one frame's array. Those of its
effects come after them."""


_NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


class PictureGraph(Graph):
    """Decodes pictures; a sample of DALI's batch is a frame."""

    def decodes(self, clip: Clip) -> bool:
        """Whether DALI decodes a clip; else its frames are to be fetched as pictures."""
        return pictures_by_dali(clip.codec, clip.pixel_format)

    def pipeline(
        self, source: Callable[[Any], Any], *, views: int, places: int, threads: int, prefetch: int
    ) -> Pipeline:
        """(clips * T*5, height, width, 3) uint8; the rest as ``Graph.pipeline``."""
        return self._defined(_graph, source, views * places, threads, prefetch)

    def inputs(
        self, views: Sequence[View], fetched: Sequence[Fetched]
    ) -> list[list[npt.NDArray[Any]]]:
        """The graph's inputs, a list for each with an array for each frame of each view."""
        samples: list[tuple[npt.NDArray[Any], ...]] = []
        for view, what in zip(views, fetched, strict=True):
            samples += _samples(view, what, len(samples))
        return [list(column) for column in zip(*samples, strict=True)]


@pipeline_def(enable_conditionals=True)
def _graph(source: Callable[[Any], Any], target: Size, on_gpu: bool, effects: Effects) -> Any:
    inputs = external(source, (*INPUTS, *effects.inputs))
    kind, encoded, picture, order, window, region, *look = inputs
    if kind == REPEAT:
        device = "gpu" if on_gpu else "cpu"
        frame = types.Constant(_NO_PICTURE, layout="HWC", device=device)
    else:
        if kind == PICTURES:
            cut = fn.reinterpret(picture.gpu() if on_gpu else picture, layout="HWC")
        else:
            cut = fn.decoders.image_slice(
                encoded,
                window[0:2],
                window[2:4],
                axes=[0, 1],
                device="mixed" if on_gpu else "cpu",
                output_type=types.RGB,
                adjust_orientation=False,  # sizes and crops are those of the picture as stored
            )
        frame = cut_and_resize(cut, region, target, layout="HWC", on_gpu=on_gpu)
        frame = photometric(frame, look, effects)
    return fn.permute_batch(frame, indices=order)


def _samples(view: View, fetched: Fetched, base: int) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """The graph's inputs for each place of one view, whose first sample is ``base``."""
    _, first, order = np.unique(view.frames, return_index=True, return_inverse=True)
    window = np.array(view.crop.window, np.int32)
    region = np.array(view.crop.region, np.float32)
    look = look_values(view.look)
    for place, number in enumerate(order.reshape(-1)):
        kind, encoded, picture = REPEAT, NOTHING, _NO_PICTURE
        if first[number] == place:
            if fetched.pictures is not None:
                kind, picture = PICTURES, fetched.pictures[number]
            else:
                assert fetched.encoded is not None
                kind, encoded = BYTES, fetched.encoded[number]
        taken = np.array(base + first[number], np.int32)
        yield np.array(kind, np.int32), encoded, picture, taken, window, region, *look
