"""Parts of videos that are predicted one by one, and how their clips are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from tdn.pipelines.loader import Loader
from tdn.pipelines.sampling.plans import Place, Planner, View, upright_size
from tdn.pipelines.streaming.stream import Position


class Window(NamedTuple):
    """A part of a video."""

    row: int
    """The video's, in the manifest."""
    start: float
    """Seconds from the video's first frame."""
    end: float
    first: int
    """Its first frame, from 0."""
    frames: int


def whole(row: int, times: npt.NDArray[np.float64]) -> list[Window]:
    """The whole video as one window; ``times`` as of ``pipelines.frame_times``."""
    return [Window(row, 0.0, float(times[-1]), 0, len(times) - 1)]


def sliding(row: int, times: npt.NDArray[np.float64], length: float, every: float) -> list[Window]:
    """Windows of equal length over a video.

    They start every so many seconds; if the last one ends before the video does, one more ends with
    it. A video that is no longer than a window is one window.

    Args:
        row: The video's.
        times: (frames + 1,) when its frames are shown, and the end, seconds.
        length: Of a window, seconds.
        every: Seconds from one start to the next.

    Returns:
        At least one, each with at least one frame.
    """
    end = float(times[-1])
    if end <= length:
        return whole(row, times)
    count = int((end - length) / every + 1e-9) + 1
    starts = [number * every for number in range(count)]
    if starts[-1] + length < end - 1e-6:
        starts.append(end - length)
    return [_window(row, times, start, start + length) for start in starts]


def _window(row: int, times: npt.NDArray[np.float64], start: float, end: float) -> Window:
    """The frames that begin in a time; if none does, the one that is shown at its start."""
    first = int(np.searchsorted(times[:-1], start - 1e-6))
    last = int(np.searchsorted(times[:-1], end - 1e-6))
    if first == last:
        first, last = max(first - 1, 0), max(first, 1)
    return Window(row, start, min(end, float(times[-1])), first, last - first)


@dataclass
class WindowPlanner(Planner):
    """Plans the views of windows, in their order; ``train`` must be false.

    The views of a batch are numbered through all windows, in the planner's order.
    """

    windows: tuple[Window, ...] = ()

    @property
    def steps(self) -> int:
        """Batches of all windows with all their views."""
        return -(-len(self.windows) * self.views_per_video // self.data.batch_size)

    def batch(self, epoch: int, step: int) -> list[View]:  # noqa: ARG002 - as other planners
        """The views of one step, from 0; there is only one epoch."""
        size, views = self.data.batch_size, self.views_per_video
        last = min((step + 1) * size, len(self.windows) * views)
        wanted = [divmod(item, views) for item in range(step * size, last)]
        planned = [self._window_view(number, view) for number, view in wanted]
        return [view for view in planned if view.place not in self.failed]

    def _window_view(self, number: int, view: int) -> View:
        window = self.windows[number]
        clip = self.manifest.clip(window.row)
        part = clip._replace(frames=window.frames)
        frames, crop = self._views.view(part, upright_size(clip), view)
        place = Place(0, number, window.row)
        item = number * self.views_per_video + view
        return View(clip, clip.label, window.first + frames, crop, place, item)


class WindowLoader(Loader):
    """Loads windows; a video that cannot be decoded loses all of them and costs nothing else."""

    def __init__(self, planner: WindowPlanner, device: torch.device) -> None:
        super().__init__(planner, device, Position(0, 0))
        self.problems: dict[int, str] = {}
        """Why rows of the manifest could not be decoded."""

    def exclude(self, view: View, cause: str) -> None:
        """Go on without a view's video."""
        row = view.clip.row
        self.problems.setdefault(row, cause)
        windows = cast(WindowPlanner, self.planner).windows
        places = (Place(0, number, row) for number, w in enumerate(windows) if w.row == row)
        self.planner.failed.update(places)
