"""Batches of clips for the network: ``create_loader``."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from tdn.config import Config, EvaluationConfig
from tdn.config_loading import resolve_config
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.pipelines.batch import Batch
from tdn.pipelines.decoding.decoders import describe_decoders
from tdn.pipelines.indexing.list_checks import check_labels, check_lists
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.file_checks import FileChecks
from tdn.pipelines.sampling.plans import Planner, View
from tdn.pipelines.sources.listing import read_class_names
from tdn.pipelines.streaming.faults import dali_reason, find_undecodable
from tdn.pipelines.streaming.memory import check_memory, memory_need
from tdn.pipelines.streaming.stream import Position, Stream, graph_of

_log = logging.getLogger(__name__)

_MANY = 16
"""Lost videos from which on a process judges all by its own."""


class Loader:
    """Iterates over one epoch's batches of one process, decoding ahead in the background.

    Use it again for the next epoch after ``set_epoch``; training goes on without a pause, because
    the next epoch's first batches are already being decoded.
    """

    def __init__(self, planner: Planner, device: torch.device, start: Position) -> None:
        self.planner = planner
        self.device = device
        self._start = start
        self._next = start
        self._stream: Stream | None = None
        self._checks = FileChecks(len(planner.manifest))
        self._lost_in: dict[int, int] = {}
        """How many were first lost in each epoch."""
        self.lost: set[int] = set()
        """Rows of files that could not be decoded at least once."""

    def __len__(self) -> int:
        """Steps from the start step to the end of the epoch, for this process."""
        return max(0, self.planner.steps - self._start.step)

    @property
    def views_per_video(self) -> int:
        """Clips times crops of the test protocol; 1 in training and validation."""
        return self.planner.views_per_video

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Where the next iteration starts; both from 0."""
        self._start = Position(epoch, start_step)

    def __iter__(self) -> Iterator[Batch]:
        start = self._start
        if start.step >= self.planner.steps:
            return
        if self._next != start:
            self.close()
        self._next = start
        while self._next.epoch == start.epoch:
            try:
                position, views, clips = self._next_batch()
            except StopIteration:  # what was left of the list is undecodable
                break
            last = position.step + 1 == self.planner.steps
            self._next = Position(
                *((start.epoch + 1, 0) if last else (start.epoch, position.step + 1))
            )
            yield _batch(views, clips)
        if not self.planner.train:
            self.close()
        if self.lost:
            _log.warning(
                "%s: %d of %d videos could not be decoded so far",
                self.planner.manifest.list_path,
                len(self.lost),
                len(self.planner.rows),
            )

    def close(self) -> None:
        """Stop decoding and free the pipeline's memory; batches that are held stay intact."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def listed(self) -> int:
        """Rows of the list, unusable ones included."""
        return len(self.planner.manifest)

    @property
    def videos(self) -> int:
        """Videos that take part, over all processes."""
        return len(self.planner.rows)

    def leave_out(self, batches: npt.NDArray[np.int64]) -> None:
        """Do without some batches of a test, by their numbers, on every process the same.

        To be called before the first batch.
        """
        planner = self.planner
        planner.batches = planner.batches[~np.isin(planner.batches, batches)]

    @property
    def batches(self) -> int:
        """Batches of a test, over all processes."""
        return len(self.planner.batches)

    def batch_number(self, batch: Batch) -> int:
        """The number of a test's batch among all processes'."""
        return self.planner.batch_number(int(batch.indices[0]), int(batch.views[0]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; empty where the list gives only numbers."""
        return self.planner.manifest.classes

    def fingerprint(self) -> str:
        """Checksum of the videos; equal on processes that may train together."""
        planner = self.planner
        left_out = _shorter(planner)
        return planner.manifest.digest() + (f"-{left_out}" if left_out else "")

    def describe(self) -> str:
        """One line for the log: how many videos, who decodes them, and the memory it takes."""
        manifest = self.planner.manifest
        decoders = describe_decoders(manifest, self.device.type == "cuda")
        need = memory_need(self.planner, self.device)
        videos = f"{manifest.list_path}: {len(self.planner.rows)} videos{_left_out(self.planner)}"
        return f"{videos}, {decoders}; {need}"

    def _next_batch(self) -> tuple[Position, list[View], torch.Tensor]:
        """The next batch; a file that DALI cannot decode is excluded and the batch made again."""
        unexplained = 0
        while True:
            if self._stream is None:
                self._stream = Stream(
                    self.planner, self._next, self._checks, self.exclude, self.device
                )
            try:
                return self._stream.next_batch()
            except RuntimeError as error:
                views = self._stream.in_flight()
                self.close()
                culprits = find_undecodable(
                    views, graph_of(self.planner, self.device), self._checks
                )
                unexplained += not culprits
                if unexplained > 1:
                    raise
                if not culprits:  # a passing fault, of the storage for example
                    _log.warning("a batch failed and is made again: %s", dali_reason(error))
                for view, cause in culprits:
                    self.exclude(view, cause)

    def exclude(self, view: View, cause: str) -> None:
        """Go on without a view whose file cannot be decoded, until too many files are lost.

        Raises:
            UserError: Too many are.
        """
        self.planner.failed.add(view.place)
        if view.clip.row in self.lost:
            return
        self.lost.add(view.clip.row)
        where = "another video takes its place" if self.planner.train else "it is left out"
        _log.warning("%s: cannot be decoded, %s: %s", view.clip.name, where, cause)
        share, lost = self.planner.data.max_bad_share, len(self.lost)
        usable = len(self.planner.rows)
        here = self._lost_in[view.place.epoch] = self._lost_in.get(view.place.epoch, 0) + 1
        # A process tests its part of the videos. Of a few that are lost, chance may have given it
        # more than its part. In training the processes tell each other.
        estimate = 0 if self.planner.train or here < _MANY else here * self.planner.world_size
        too_many_here = estimate > share * usable
        if lost > share * usable or lost == usable or too_many_here:
            raise UserError(
                f"{lost} of {usable} videos cannot be decoded, the last one {view.clip.name}: "
                f"{cause}; check the storage, or raise data.max_bad_share ({share})"
            )


def _batch(views: list[View], clips: torch.Tensor) -> Batch:
    return Batch(
        clips,
        torch.tensor([view.label for view in views]),
        torch.tensor([view.clip.row for view in views]),
        torch.from_numpy(np.stack([view.frames for view in views])),
        torch.tensor([view.number for view in views]),
    )


def create_loader(
    config: Config | str | Path,
    split: Literal["train", "validation", "test"],
    rank: int = 0,
    world_size: int = 1,
    epoch: int = 0,
    start_step: int = 0,
) -> Loader:
    """The loader of one process, for one split.

    Args:
        config: Path to a YAML file, or a loaded configuration.
        split: "train" (random order, sampling, crop and flip; complete batches only) or
            "validation" (the list's order, centre clip and crop; every video exactly once over all
            processes, the last batch smaller), or "test" (the validation list with the clips and
            crops of ``evaluation``, a video's views one after the other).
        rank: This process among all, from 0.
        world_size: Number of processes; their batches together are the global batch.
        epoch: Epoch to start with, from 0.
        start_step: Step of that epoch to start with, from 0.

    Returns:
        An iterable of ``Batch`` with a length. Its manifest is made if need be.

    Raises:
        UserError: The list, a label in it, or all its videos are unusable, or there are too few for
            one batch.
    """
    if split not in ("train", "validation", "test"):
        raise UserError(f"split: there is no '{split}'; choose train, validation or test")
    config = resolve_config(config)
    key = "train_list" if split == "train" else "validation_list"
    source = getattr(config.data, key)
    if not source:
        raise UserError(f"data.{key}: is empty; give the list of {split} videos")
    if split == "train":
        check_lists(config)
    manifest = manifest_of(
        source,
        config.data.root,
        classes=read_class_names(config.data.classes) if config.data.classes else (),
        template=config.data.frame_template,
        progress=config.logging.progress,
    )
    check_labels(
        manifest.list_path,
        manifest.labels,
        lambda row: manifest.value(row, "line"),
        manifest.classes,
        config.model.num_classes,
    )
    data = config.data
    if split == "test" and config.evaluation.batch_size:
        data = dataclasses.replace(data, batch_size=config.evaluation.batch_size)
    planner = Planner(
        manifest,
        data,
        config.model.num_segments,
        train=split == "train",
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        accumulate=config.training.accumulate if split == "train" else 1,
        evaluation=config.evaluation if split == "test" else EvaluationConfig(),
    )
    _check_count(planner)
    device = resolve_device(config.training.device)
    check_memory(planner, device)
    loader = Loader(planner, device, Position(epoch, start_step))
    if rank == 0:
        _log.info("%s", loader.describe())
    return loader


def _check_count(planner: Planner) -> None:
    manifest = planner.manifest
    usable = len(planner.rows)
    manifest.check_usable()
    if planner.train and usable == 0:
        raise UserError(
            f"{manifest.list_path}: all of its {_shorter(planner)} usable videos are shorter than "
            f"data.min_frames ({planner.data.min_frames}); lower it"
        )
    together = planner.data.batch_size * planner.world_size * planner.accumulate
    if planner.train and usable < together:
        times = f", {planner.accumulate} times" if planner.accumulate > 1 else ""
        raise UserError(
            f"{manifest.list_path}: {usable} usable videos{_left_out(planner)} are fewer than one "
            f"batch of {together} ({planner.data.batch_size} on each of {planner.world_size} "
            f"processes{times}); lower {'training.accumulate or ' if times else ''}data.batch_size"
        )


def _shorter(planner: Planner) -> int:
    """Usable videos that are too short for training."""
    return len(planner.manifest.usable) - len(planner.rows)


def _left_out(planner: Planner) -> str:
    short = _shorter(planner)
    return f" ({short} shorter ones left out by data.min_frames)" if short else ""
