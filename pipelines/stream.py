"""A running DALI pipeline and what it was asked for: batches of decoded views, in order.

Plans are made ahead. Views that PyAV decodes start in threads when their batch is planned, so that
they are ready when DALI asks; the others are decoded inside DALI.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tdn.pipelines.decoders import decoded_by_dali
from tdn.pipelines.graph import INPUTS, build_graph, graph_inputs
from tdn.pipelines.manifest import Clip
from tdn.pipelines.plans import Planner, View
from tdn.pipelines.pyav_decoding import DecodingError, decode_frames

Exclude = Callable[[View, str], None]
"""Told of a view whose file cannot be decoded, and why; may raise UserError to end the run."""


_AHEAD = 1
"""Batches planned beyond those that DALI has; of PyAV's, their decoded pictures are held."""


class Position(NamedTuple):
    """Where in a run a batch stands; both from 0."""

    epoch: int
    step: int


class _Planned(NamedTuple):
    position: Position
    views: list[View]
    pictures: dict[int, Future[npt.NDArray[np.uint8]]]
    """By index in the batch: views that are being decoded outside DALI."""
    changed: list[tuple[View, str]]
    """Views whose file is not the one that was indexed, and how."""


class Stream:
    """Batches from one position on: to the end of the epoch, or over all following epochs.

    Going on over the epoch's end keeps the pipeline busy while the trainer validates.
    """

    def __init__(
        self, planner: Planner, start: Position, exclude: Exclude, device: torch.device
    ) -> None:
        self._planner = planner
        self._exclude = exclude
        self._device = device
        self._gpu = device.type == "cuda"
        self._positions = self._all_positions(start)
        self._ahead: deque[_Planned] = deque()
        self._in_dali: deque[_Planned] = deque()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(planner.data.num_threads, "tdn-decode")
        self._pipeline = build_graph(
            self._feed,
            target=planner.target,
            batch_size=planner.data.batch_size,
            num_threads=planner.data.num_threads,
            prefetch=planner.data.prefetch,
            device_id=device.index if self._gpu else None,
        )

    def next_batch(self) -> tuple[Position, list[View], torch.Tensor]:
        """The next batch that is not empty.

        Returns:
            Its position, its views, and the pictures, (views, T*5, height, width, 3) uint8 on the
            stream's device, in DALI's memory.

        Raises:
            StopIteration: There are no more.
            RuntimeError: DALI could not decode a batch; ``in_flight`` holds the culprit, and the
                stream is of no more use.
        """
        try:
            if self._gpu:
                output = self._pipeline.run(torch.cuda.current_stream(self._device))[0]
            else:
                output = self._pipeline.run()[0]
        except StopIteration:
            if self._failure is not None:
                raise self._failure from None
            raise
        planned = self._in_dali.popleft()
        return planned.position, planned.views, torch.from_dlpack(output.as_tensor())

    def in_flight(self) -> list[View]:
        """The views that DALI was given and has not returned."""
        return [view for planned in self._in_dali for view in planned.views]

    def close(self) -> None:
        """Stop decoding and free the pipeline; batches that are held stay intact."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        del self._pipeline

    def _all_positions(self, start: Position) -> Iterator[Position]:
        epoch, step = start
        while True:
            for following in range(step, self._planner.steps):
                yield Position(epoch, following)
            if not self._planner.train:
                return
            epoch, step = epoch + 1, 0

    def _feed(self, _info: Any) -> list[list[npt.NDArray[Any]]]:
        """DALI's source: the next planned batch as the graph's inputs."""
        try:
            planned = self._next_planned()
        except StopIteration:
            raise
        except BaseException as error:
            # DALI would hide what is raised here and refuse to go on; next_batch raises it instead.
            self._failure = error
            raise StopIteration from None
        self._in_dali.append(planned)
        columns: list[list[npt.NDArray[Any]]] = [[] for _ in INPUTS]
        for index, view in enumerate(planned.views):
            future = planned.pictures.get(index)
            values = graph_inputs(view, None if future is None else future.result())
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        return columns

    def _next_planned(self) -> _Planned:
        """The next batch that is not empty, its outside pictures decoded, more batches begun."""
        while True:
            while len(self._ahead) <= _AHEAD:
                position = next(self._positions, None)
                if position is None:
                    break
                self._ahead.append(self._plan(position))
            if not self._ahead:
                raise StopIteration
            planned = self._decoded(self._ahead.popleft())
            if planned.views:
                return planned

    def _plan(self, position: Position) -> _Planned:
        views = self._planner.batch(*position)
        pictures = {
            index: self._pool.submit(decode_frames, view)
            for index, view in enumerate(views)
            if not decoded_by_dali(view.clip, self._gpu)
        }
        changed = [(view, cause) for view in views if (cause := _change(view.clip))]
        return _Planned(position, views, pictures, changed)

    def _decoded(self, planned: _Planned) -> _Planned:
        """Waits for outside pictures; plans the batch again without files that failed."""
        while True:
            bad = list(planned.changed)
            for index, future in planned.pictures.items():
                try:
                    future.result()
                except DecodingError as error:
                    bad.append((planned.views[index], str(error)))
            if not bad:
                return planned
            for view, cause in bad:
                self._exclude(view, cause)
            planned = self._plan(planned.position)


def _change(clip: Clip) -> str:
    """How a file differs from what was indexed, "" if it does not.

    A file that was cut short since must not reach the decoder: for some containers DALI trusts the
    header's frame count and returns uninitialised pictures.
    """
    try:
        size = os.stat(clip.path).st_size  # noqa: PTH116 - called for every clip
    except OSError as error:
        return str(error.strerror).lower()
    return "" if size == clip.size else f"has {size} bytes, but {clip.size} when it was indexed"
