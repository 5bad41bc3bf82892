"""A trained network that says what happens in videos.

    from tdn.prediction.predictor import Predictor

    for video in Predictor("runs/mine/checkpoints/best.pt")(["a.mp4", "folder"]):
        print(video.path, video.problem or video.top(5))

Videos come by the same pipeline as in training and testing, so equal videos give equal scores.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdn.config import Config
from tdn.config_loading import check_config
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.evaluation.scores import Scores
from tdn.pipelines.manifests.manifest import Manifest
from tdn.prediction.results import Probabilities, VideoPrediction, WindowPrediction
from tdn.prediction.videos import find_videos, read_videos
from tdn.prediction.windows import Window, WindowLoader, WindowPlanner, sliding, whole
from tdn.trained import load_trained
from tdn.training.forward import predict
from tdn.training.precision import Precision, choose_precision


class Predictor:
    """A network on its device, ready for videos.

    Args:
        checkpoint: One of ours, which holds its configuration, or a published one.
        config: The network's and its test protocol's; by default the checkpoint's own.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        clips: Clips per window; by default as ``evaluation.clips`` has it.
        crops: Crops per clip; by default as ``evaluation.crops`` has it.
        classes: File with a class name per line; empty takes the checkpoint's own names.
        raw: Take the weights of the last step even where the checkpoint has averaged ones.

    Raises:
        UserError: The checkpoint cannot be used, or a setting does not fit.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: Config | None = None,
        *,
        device: str = "auto",
        clips: int | None = None,
        crops: int | None = None,
        classes: str | Path = "",
        raw: bool = False,
    ) -> None:
        trained = load_trained(checkpoint, config, raw=raw, classes=classes)
        self.classes = trained.classes
        """Names of the labels 0, 1, ..."""
        self.config = _for_prediction(trained.config, clips, crops)
        self._device = resolve_device(device)
        self._precision = _precision(self.config, self._device)
        model = trained.model.to(self._device)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(
        self,
        videos: Sequence[str | Path],
        *,
        window: float | None = None,
        every: float | None = None,
        progress: bool = False,
    ) -> list[VideoPrediction]:
        """Predict videos.

        Args:
            videos: Files; folders of frames; other folders, for all clips below them.
            window: Seconds; predict windows of this length instead of the whole video.
            every: Seconds from one window to the next; by default half the window, and not less
                than a frame lasts.
            progress: Whether to show a bar, where somebody watches.

        Returns:
            One for each video, in order; those that cannot be read say why, and those of which a
            frame lasts longer than a window.

        Raises:
            UserError: A path is not there, or a number does not fit.
        """
        for name, value in (("window", window), ("every", every)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"--{name}: {value} does not fit; give seconds above 0")
        if every is not None and window is None:
            raise UserError("--every: needs --window; give the length of the windows, too")
        paths = find_videos(videos)
        if not paths:
            return []
        manifest, times, problems = read_videos(paths, self.config.data.frame_template)
        windows: list[Window] = []
        for row, shown in times.items():
            try:
                windows += _windows(row, shown, window, every)
            except _TooShortError as error:
                problems[row] = str(error)
        probabilities, lost = self._scores(manifest, windows, progress)
        problems |= lost
        predicted: dict[int, list[WindowPrediction]] = {}
        for number, scores in probabilities.items():
            part = windows[number]
            found = WindowPrediction(part.start, part.end, part.first, part.frames, scores)
            predicted.setdefault(part.row, []).append(found)
        return [
            VideoPrediction(path, self.classes, problem=problems[row])
            if row in problems
            else VideoPrediction(path, self.classes, tuple(predicted[row]))
            for row, path in enumerate(paths)
        ]

    def _scores(
        self, manifest: Manifest, windows: Sequence[Window], progress: bool
    ) -> tuple[dict[int, Probabilities], dict[int, str]]:
        """Probabilities by the window's number, as tested; and why rows cannot be decoded."""
        config = self.config
        planner = WindowPlanner(
            manifest,
            config.data,
            config.model.num_segments,
            train=False,
            seed=config.seed,
            evaluation=config.evaluation,
            windows=tuple(windows),
        )
        views = planner.views_per_video
        items: list[Tensor] = []
        logits: list[Tensor] = []
        bar = "predicting" if progress and sys.stderr.isatty() else None
        with closing(WindowLoader(planner, self._device)) as loader:
            for batch, scores in predict(self._model, loader, self._precision, self._device, bar):
                items.append(batch.views)
                logits.append(scores)
        if not items:
            return {}, loader.problems
        numbers, of_window = np.divmod(torch.cat(items).numpy(), views)
        labels = np.zeros_like(numbers)  # nobody knows them
        found = Scores.of_views(numbers, labels, of_window, torch.cat(logits).cpu().numpy(), views)
        probabilities = dict(zip(found.indices.tolist(), found.probabilities(), strict=True))
        return probabilities, loader.problems


def _precision(config: Config, device: torch.device) -> Precision:
    """The run's, as in its test; on a CPU fp32 in place of what only GPUs are fast in."""
    name = config.training.precision
    return choose_precision("auto" if device.type == "cpu" and name != "bf16" else name, device)


def _for_prediction(config: Config, clips: int | None, crops: int | None) -> Config:
    """A run's configuration without what belongs to its data set."""
    given = {"clips": clips, "crops": crops}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    found = dataclasses.replace(
        config,
        evaluation=dataclasses.replace(config.evaluation, **chosen),
        data=dataclasses.replace(config.data, train_list="", validation_list="", memory_limit=0.0),
    )
    check_config(found)
    return found


class _TooShortError(Exception):
    """A window that would hold less than a frame, or a step that would not reach the next one."""


def _windows(
    row: int, times: npt.NDArray[np.float64], window: float | None, every: float | None
) -> list[Window]:
    if window is None:
        return whole(row, times)
    frame = float(times[-1]) / (len(times) - 1)
    for name, value in (("window", window), ("every", every)):
        # Else there are more windows than frames, for small numbers more than the memory takes.
        if value is not None and value < 0.9 * frame:  # 0.033 is meant for a frame at 30 a second
            raise _TooShortError(
                f"a frame lasts {frame:.3g} s, --{name} {value:g} is less; give more"
            )
    return sliding(row, times, window, every or max(window / 2, frame))
