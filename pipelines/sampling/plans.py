"""What each batch will hold, before anything is decoded: rows, frames, crops, flips, looks.

A plan is a pure function of the configuration, the manifest, (epoch, step) and the process's place
among the others, so it can be made again, for any step, on any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.config import DataConfig, EvaluationConfig
from tdn.flip_labels import flip_map
from tdn.pipelines.manifests.manifest import Clip, Manifest
from tdn.pipelines.sampling.augmentation import Crop, Size, as_size, mirrored, training_crop
from tdn.pipelines.sampling.order import epoch_order, shard_order
from tdn.pipelines.sampling.photometric import Look, draw_look
from tdn.pipelines.sampling.protocol import Protocol
from tdn.pipelines.sampling.randomness import Purpose, generator
from tdn.pipelines.sampling.segments import clip_frames, dense_starts, train_starts


class Place(NamedTuple):
    """Where a row was to stand in a run; all from 0."""

    epoch: int
    position: int
    """In the epoch's global order."""
    row: int


class View(NamedTuple):
    """One clip of a batch: which frames of which video, and which part of them."""

    clip: Clip
    label: int
    """The clip's label, or the mirrored one's where the view is mirrored."""
    frames: npt.NDArray[np.int64]
    """(T, 5) frame numbers, from 0."""
    crop: Crop
    place: Place
    number: int = 0
    """Among the views of its video, from 0."""
    look: Look = Look()
    """How its colours are changed and what is erased."""


@dataclass
class Planner:
    """Makes the views of a process, step by step.

    Attributes:
        manifest: The videos.
        data: Crop, flip and batch settings.
        segments: Segments per clip, T.
        train: Whether to sample and augment at random, in a random order.
        seed: Seed of everything random.
        rank: This process among all, from 0.
        world_size: Number of processes.
        accumulate: Batches that make a step of training together.
        evaluation: Clips and crops of each video where ``train`` is false.
        failed: Places that turned out to be undecodable. Training puts another video there, so that
            all processes stay in step; otherwise they are left out. A place's fate depends on
            nothing but itself, so it is the same in a resumed run.
    """

    manifest: Manifest
    data: DataConfig
    segments: int
    train: bool
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    accumulate: int = 1
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    failed: set[Place] = field(default_factory=set)
    _order: tuple[int, npt.NDArray[np.int32]] = field(
        default=(-1, np.empty(0, np.int32)), init=False, repr=False
    )

    def __post_init__(self) -> None:
        self.rows = self._rows()
        """(videos,) the rows that take part, rising."""
        self._flips = flip_map(self.data.flip_labels)
        self._views = Protocol(self.data, self.evaluation, self.segments, self.seed)
        views = 0 if self.train else len(self.rows) * self.views_per_video
        self.batches = np.arange(-(-views // self.data.batch_size))
        """(batches,) where ``train`` is false: the numbers of those that are wanted, rising. The
        processes take turns, so what a batch holds does not depend on how many they are."""

    @property
    def target(self) -> Size:
        """Height and width of the network's input."""
        return as_size(self.data.crop_size) if self.train else self._views.target

    @property
    def views_per_video(self) -> int:
        """Clips times crops."""
        return 1 if self.train else self._views.count

    @property
    def steps(self) -> int:
        """Steps per epoch of this process; what the trainer accumulates counts one by one.

        Training drops the last incomplete batch of all processes together; otherwise everything is
        kept, and processes may differ in their steps.
        """
        if not self.train:
            return len(range(self.rank, len(self.batches), self.world_size))
        together = self.data.batch_size * self.world_size * self.accumulate
        return len(self.rows) // together * self.accumulate

    def batch(self, epoch: int, step: int) -> list[View]:
        """The views of one step (both from 0)."""
        return self._training_batch(epoch, step) if self.train else self._test_batch(step)

    def _training_batch(self, epoch: int, step: int) -> list[View]:
        order, batch = self._epoch_order(epoch), self.data.batch_size
        first = (step * self.world_size + self.rank) * batch
        places = [Place(epoch, p, int(self.rows[order[p]])) for p in range(first, first + batch)]
        return [self._training_view(self._substituted(place)) for place in places]

    def _test_batch(self, step: int) -> list[View]:
        """The views of one of this process's batches: videos in the list's order, each whole."""
        number = int(self.batches[self.rank + step * self.world_size])
        size, views = self.data.batch_size, self.views_per_video
        wanted = []
        for item in range(number * size, min((number + 1) * size, len(self.rows) * views)):
            position, view = divmod(item, views)
            place = Place(0, position, int(self.rows[position]))
            if place not in self.failed:
                wanted.append(self._test_view(place, view))
        return wanted

    def batch_number(self, row: int, view: int) -> int:
        """The number of the test batch that a view is in."""
        position = int(np.searchsorted(self.rows, row))
        return (position * self.views_per_video + view) // self.data.batch_size

    def _rows(self) -> npt.NDArray[np.int32]:
        usable = self.manifest.usable
        if self.train and self.data.min_frames > 1:
            usable = usable[self.manifest.frames[usable] >= self.data.min_frames]
        return usable

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.int32]:
        if self._order[0] != epoch:
            self._order = (epoch, self._new_order(epoch))
        return self._order[1]

    def _new_order(self, epoch: int) -> npt.NDArray[np.int32]:
        together, shards = self.data.shuffle_shards, self.manifest.shards
        if shards is None or not together:
            return epoch_order(len(self.rows), self.seed, epoch)
        usable = self.manifest.usable
        bounds = np.searchsorted(self.rows, usable[shards[:-1]])
        return shard_order(np.append(bounds, len(self.rows)), together, self.seed, epoch)

    def _substituted(self, place: Place) -> Place:
        """The place with its own row, or with a random other one if that failed there."""
        if place not in self.failed:
            return place
        rng = generator(self.seed, place.epoch, place.position, Purpose.SUBSTITUTE)
        while place in self.failed:
            place = place._replace(row=int(self.rows[rng.integers(len(self.rows))]))
        return place

    def _training_view(self, place: Place) -> View:
        data = self.data
        rng = generator(self.seed, place.epoch, place.position, Purpose.CLIP)
        clip = self.manifest.clip(place.row)
        if data.sampling == "dense":
            starts = dense_starts(clip.frames, self.segments, data.dense_span, rng.random())
        else:
            starts = train_starts(clip.frames, self.segments, rng, data.stride)
        frames = clip_frames(starts, clip.frames, data.stride)
        crop = training_crop(upright_size(clip), self.target, data.scales, rng)
        label = clip.label
        if data.flip and rng.integers(2):
            label, crop = self._flips.get(label, label), mirrored(crop)
        look = draw_look(data, self.target, self.seed, place.epoch, place.position)
        return View(clip, label, frames, crop, place, look=look)

    def _test_view(self, place: Place, number: int) -> View:
        clip = self.manifest.clip(place.row)
        frames, crop = self._views.view(clip, upright_size(clip), number)
        return View(clip, clip.label, frames, crop, place, number)


def upright_size(clip: Clip) -> Size:
    """Height and width of the pictures as they are shown."""
    sideways = clip.rotation in (90, 270)
    return (clip.width, clip.height) if sideways else (clip.height, clip.width)
