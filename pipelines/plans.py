"""What each batch will hold, before anything is decoded: rows, frames, crops, flips.

A plan is a pure function of the configuration, the manifest, (epoch, step) and the process's place
among the others, so it can be made again, for any step, on any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.config import DataConfig
from tdn.pipelines.augmentation import Crop, Size, mirrored, training_crop, validation_crop
from tdn.pipelines.manifest import Clip, Manifest
from tdn.pipelines.randomness import Purpose, epoch_order, generator
from tdn.pipelines.sampling import clip_frames, train_starts, validation_starts


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
        failed: Views that turned out to be undecodable. Training puts another video in their
            place, so that all processes stay in step; validation leaves them out. A view's fate
            depends on nothing but itself, so it is the same in a resumed run.
    """

    manifest: Manifest
    data: DataConfig
    segments: int
    train: bool
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    failed: set[Place] = field(default_factory=set)
    _order: tuple[int, npt.NDArray[np.int64]] = field(
        default=(-1, np.empty(0, np.int64)), init=False, repr=False
    )

    @property
    def target(self) -> Size:
        """Height and width of the network's input."""
        size = self.data.crop_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @property
    def steps(self) -> int:
        """Steps per epoch of this process.

        Training drops the last incomplete batch of all processes together; validation keeps
        everything, and processes may differ by one step.
        """
        usable, batch = len(self.manifest.usable), self.data.batch_size
        if self.train:
            return usable // (batch * self.world_size)
        mine = len(range(self.rank, usable, self.world_size))
        return -(-mine // batch)

    def batch(self, epoch: int, step: int) -> list[View]:
        """The views of one step (both from 0)."""
        positions = self._positions(step)
        if not self.train:
            places = [Place(0, p, int(self.manifest.usable[p])) for p in positions]
            return [self._validation_view(place) for place in places if place not in self.failed]
        order = self._epoch_order(epoch)
        places = [self._substituted(Place(epoch, p, int(order[p]))) for p in positions]
        return [self._training_view(place) for place in places]

    def _positions(self, step: int) -> range:
        """Positions in the epoch's global order that are this process's in one step."""
        batch = self.data.batch_size
        if self.train:
            first = (step * self.world_size + self.rank) * batch
            return range(first, first + batch)
        stride = self.world_size
        first = step * batch * stride + self.rank
        return range(first, min(first + batch * stride, len(self.manifest.usable)), stride)

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._order[0] != epoch:
            order = epoch_order(len(self.manifest.usable), self.seed, epoch)
            self._order = (epoch, self.manifest.usable[order])
        return self._order[1]

    def _substituted(self, place: Place) -> Place:
        """The place with its own row, or with a random other one if that failed there."""
        if place not in self.failed:
            return place
        rng = generator(self.seed, place.epoch, place.position, Purpose.SUBSTITUTE)
        while place in self.failed:
            row = self.manifest.usable[rng.integers(len(self.manifest.usable))]
            place = place._replace(row=int(row))
        return place

    def _training_view(self, place: Place) -> View:
        rng = generator(self.seed, place.epoch, place.position, Purpose.CLIP)
        clip = self.manifest.clip(place.row)
        frames = clip_frames(train_starts(clip.frames, self.segments, rng), clip.frames)
        crop = training_crop(_upright_size(clip), self.target, self.data.scales, rng)
        if self.data.flip and rng.integers(2):
            label = self.data.flip_labels.get(clip.label, clip.label)
            return View(clip, label, frames, mirrored(crop), place)
        return View(clip, clip.label, frames, crop, place)

    def _validation_view(self, place: Place) -> View:
        clip = self.manifest.clip(place.row)
        frames = clip_frames(validation_starts(clip.frames, self.segments), clip.frames)
        crop = validation_crop(_upright_size(clip), self.target, self.data.short_side)
        return View(clip, clip.label, frames, crop, place)


def _upright_size(clip: Clip) -> Size:
    sideways = clip.rotation in (90, 270)
    return (clip.width, clip.height) if sideways else (clip.height, clip.width)
