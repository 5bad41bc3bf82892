"""The DALI graph of videos: encoded video in, uint8 network input out. One for GPU and CPU.

Python sends a path and a few numbers per clip; DALI reads, decodes, cuts, resizes and mirrors.
Each distinct frame of a clip is decoded and resized once, however many segments share it, and is
copied to its places at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from nvidia.dali import Pipeline, fn, pipeline_def, types

from tdn.pipelines.decoding.decoders import video_by_dali
from tdn.pipelines.decoding.fetching import Fetched
from tdn.pipelines.graphs.graph import Graph
from tdn.pipelines.graphs.parts import (
    BYTES,
    FILE,
    NOTHING,
    PICTURES,
    cut_and_resize,
    external,
    read_file,
)
from tdn.pipelines.graphs.photometric_nodes import Effects, look_values, photometric
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.plans import View

INPUTS = (
    ("kind", types.INT32, 0),  # FILE, BYTES or PICTURES: what `encoded` and `pictures` hold
    ("encoded", types.UINT8, 1),  # FILE: bytes of the file's path; BYTES: the file itself
    ("pictures", types.UINT8, 4),  # PICTURES: distinct frames, decoded and cut, (F, H, W, 3)
    ("frames", types.INT32, 1),  # distinct frame numbers in `encoded`, rising
    ("order", types.INT32, 1),  # for each of T*5 places, which of the distinct frames
    ("window", types.INT32, 1),  # y, x, height, width of the crop, which PICTURES are cut to
    ("region", types.FLOAT, 1),  # y0, x0, y1, x1 within the window; x1 < x0 mirrors
)
"""The graph's inputs: name, type and number of dimensions of one clip's array. Those of its effects
come after them."""


class VideoGraph(Graph):
    """Decodes videos; a sample of DALI's batch is a clip."""

    def decodes(self, clip: Clip) -> bool:
        """Whether DALI decodes a clip; else its frames are to be fetched as pictures."""
        return not clip.is_pictures and video_by_dali(clip, self._on_gpu)

    def pipeline(
        self, source: Callable[[Any], Any], *, views: int, places: int, threads: int, prefetch: int
    ) -> Pipeline:
        """(clips, T*5, height, width, 3) uint8; the rest as ``Graph.pipeline``."""
        del places  # every sample says it in `order`
        return self._defined(_graph, source, views, threads, prefetch)

    def inputs(
        self, views: Sequence[View], fetched: Sequence[Fetched]
    ) -> list[list[npt.NDArray[Any]]]:
        """The graph's inputs, a list for each with an array for each view."""
        samples = (_sample(view, what) for view, what in zip(views, fetched, strict=True))
        return [list(column) for column in zip(*samples, strict=True)]


@pipeline_def(enable_conditionals=True)
def _graph(source: Callable[[Any], Any], target: Size, on_gpu: bool, effects: Effects) -> Any:
    inputs = external(source, (*INPUTS, *effects.inputs))
    kind, encoded, pictures, frames, order, window, region, *look = inputs
    if kind == PICTURES:
        cut = fn.reinterpret(pictures.gpu() if on_gpu else pictures, layout="FHWC")
    else:
        if kind == FILE:  # noqa: SIM108 - DALI knows no conditional expression
            data = read_file(encoded)
        else:
            data = fn.copy(encoded)
        # "none": a frame past the end is an error instead of a black or uninitialised picture.
        video = fn.decoders.video(
            data, frames=frames, pad_mode="none", device="mixed" if on_gpu else "cpu"
        )
        cut = fn.slice(video, window[0:2], window[2:4], axes=[1, 2])
    video = cut_and_resize(cut, region, target, layout="FHWC", on_gpu=on_gpu)
    video = photometric(video, look, effects)
    return fn.sequence_rearrange(video, new_order=order)


_NO_PICTURES = np.zeros((1, 1, 1, 3), np.uint8)


def _sample(view: View, fetched: Fetched) -> tuple[npt.NDArray[Any], ...]:
    """The graph's inputs for one view."""
    distinct, order = np.unique(view.frames, return_inverse=True)
    kind, encoded, pictures = FILE, NOTHING, _NO_PICTURES
    frames = distinct if fetched.frames is None else fetched.frames
    if fetched.pictures is not None:
        kind, pictures = PICTURES, fetched.pictures
    elif fetched.encoded is not None:
        kind, encoded = BYTES, fetched.encoded[0]
    else:
        encoded = np.frombuffer(view.clip.path.encode(), np.uint8)
    return (
        np.array(kind, np.int32),
        encoded,
        pictures,
        frames.astype(np.int32),
        order.reshape(-1).astype(np.int32),
        np.array(view.crop.window, np.int32),
        np.array(view.crop.region, np.float32),
        *look_values(view.look),
    )
