"""A running DALI pipeline and what it was asked for: batches of decoded views, in order.

Plans are made ahead. Files are checked, and what Python has to fetch of them is fetched, in threads
from when a batch is planned, so that it is there when DALI asks; the rest is read and decoded
inside DALI.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy.typing as npt
import torch

from tdn.pipelines.decoding.decoders import all_pictures
from tdn.pipelines.decoding.fetching import Fetched, fetch
from tdn.pipelines.graphs.graph import Graph
from tdn.pipelines.graphs.photometric_nodes import NO_EFFECTS, Effects
from tdn.pipelines.graphs.picture_graph import PictureGraph
from tdn.pipelines.graphs.video_graph import VideoGraph
from tdn.pipelines.manifests.file_checks import FileChecks
from tdn.pipelines.sampling.plans import Planner, View
from tdn.pipelines.sampling.segments import FRAMES_PER_SEGMENT
from tdn.pipelines.streaming.memory import AHEAD
from tdn.pipelines.videos.reading import DecodingError

Exclude = Callable[[View, str], None]
"""Told of a view whose file cannot be decoded, and why; may raise UserError to end the run."""


class Position(NamedTuple):
    """Where in a run a batch stands; both from 0."""

    epoch: int
    step: int


class _Planned(NamedTuple):
    position: Position
    views: list[View]
    fetched: list[Future[Fetched]]
    """Of each view, what is being checked and fetched for DALI."""


class Stream:
    """Batches from one position on: to the end of the epoch, or over all following epochs.

    Going on over the epoch's end keeps the pipeline busy while the trainer validates.
    """

    def __init__(
        self,
        planner: Planner,
        start: Position,
        checks: FileChecks,
        exclude: Exclude,
        device: torch.device,
    ) -> None:
        self._planner = planner
        self._checks = checks
        self._exclude = exclude
        self._device = device
        self._gpu = device.type == "cuda"
        self._positions = self._all_positions(start)
        self._ahead: deque[_Planned] = deque()
        self._in_dali: deque[_Planned] = deque()
        self._failure: BaseException | None = None
        self._pool = ThreadPoolExecutor(planner.data.num_threads, "tdn-decode")
        self._graph = graph_of(planner, device)
        self._pipeline = self._graph.pipeline(
            self._feed,
            views=planner.data.batch_size,
            places=planner.segments * FRAMES_PER_SEGMENT,
            threads=planner.data.num_threads,
            prefetch=planner.data.prefetch,
        )

    def next_batch(self) -> tuple[Position, list[View], torch.Tensor]:
        """The next batch that is not empty.

        Returns:
            Its position, its views, and the pictures, (views, T, 5, height, width, 3) uint8 on the
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
        clips = torch.from_dlpack(output.as_tensor())
        shape = len(planned.views), self._planner.segments, FRAMES_PER_SEGMENT
        return planned.position, planned.views, clips.view(*shape, *clips.shape[-3:])

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
        return self._graph.inputs(planned.views, [future.result() for future in planned.fetched])

    def _next_planned(self) -> _Planned:
        """The next batch that is not empty, with all that was fetched; more batches are begun."""
        while True:
            while len(self._ahead) <= AHEAD:
                position = next(self._positions, None)
                if position is None:
                    break
                self._ahead.append(self._plan(position))
            if not self._ahead:
                raise StopIteration
            planned = self._complete(self._ahead.popleft())
            if planned.views:
                return planned

    def _plan(self, position: Position, before: _Planned | None = None) -> _Planned:
        """A batch, what is fetched of it begun; ``before``: as it was before files failed."""
        begun = {}
        if before is not None:
            places = ((view.place, view.number) for view in before.views)
            begun = dict(zip(places, before.fetched, strict=True))
        views = self._planner.batch(*position)
        fetched = [begun.get((view.place, view.number)) or self._begin(view) for view in views]
        return _Planned(position, views, fetched)

    def _begin(self, view: View) -> Future[Fetched]:
        return self._pool.submit(fetch, view, self._graph.decodes(view.clip), self._checks)

    def _complete(self, planned: _Planned) -> _Planned:
        """Waits for what is fetched; plans the batch again without files that failed."""
        while True:
            bad = []
            for view, future in zip(planned.views, planned.fetched, strict=True):
                try:
                    future.result()
                except DecodingError as error:
                    bad.append((view, str(error)))
            if not bad:
                return planned
            for view, cause in bad:
                self._exclude(view, cause)
            planned = self._plan(planned.position, planned)


def graph_of(planner: Planner, device: torch.device) -> Graph:
    """The graph that reads a planner's clips."""
    graph = PictureGraph if all_pictures(planner.manifest) else VideoGraph
    effects = Effects.of(planner.data) if planner.train else NO_EFFECTS
    return graph(planner.target, device.index if device.type == "cuda" else None, effects)
