"""A real run of the trainer on clips that a benchmark hands it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import tdn
from tdn.config import Config
from tdn.pipelines.batch import Batch
from tdn.training.trainer import train


class ResidentLoader:
    """One batch, again and again, with the interface of ``tdn.pipelines.loader.Loader``."""

    views_per_video = 1
    classes: tuple[str, ...] = ()

    def __init__(self, batch: Batch, steps: int, before_step: Callable[[int], object]) -> None:
        self._batch = batch
        self._steps = steps
        self._before_step = before_step
        self._start = 0
        self.listed = self.videos = steps * len(batch.labels)
        self.lost: set[int] = set()

    def __len__(self) -> int:
        return self._steps - self._start

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Where the next iteration starts."""
        del epoch
        self._start = start_step

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._start, self._steps):
            self._before_step(step)
            yield self._batch

    def of_one_step(self) -> ResidentLoader:
        """A loader of the same batch, once."""
        return ResidentLoader(self._batch, 1, lambda _: None)

    def fingerprint(self) -> str:
        """Of the videos."""
        return "resident"

    def close(self) -> None:
        """Nothing is open."""


def run(config: Config, train_loader: ResidentLoader) -> None:
    """Train on a loader's clips, and validate on one batch of them."""

    def create_loader(_: Config, split: str, **place: object) -> ResidentLoader:
        del place
        return train_loader if split == "train" else train_loader.of_one_step()

    config.data.train_list = config.data.validation_list = "resident"
    config.model.pretrained = None  # a file that need not be there; no time depends on weights
    former, tdn.create_loader = tdn.create_loader, create_loader  # type: ignore[assignment]
    try:
        with tempfile.TemporaryDirectory() as folder:
            config.output = folder
            train(config)
    finally:
        tdn.create_loader = former
