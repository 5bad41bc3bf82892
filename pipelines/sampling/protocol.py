"""Test protocols: which views of a video are scored, as "clips x crops" (paper section 4.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tdn.config import DataConfig, EvaluationConfig
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Crop, Size, as_size, protocol_crops
from tdn.pipelines.sampling.randomness import Purpose, generator
from tdn.pipelines.sampling.segments import (
    clip_frames,
    dense_starts,
    train_starts,
    validation_starts,
)


class Protocol:
    """The views of each video, clip by clip, and of each clip crop by crop.

    Args:
        data: Sampling and sizes.
        evaluation: Clips and crops.
        segments: Segments per clip, T.
        seed: Of the clips that are drawn at random.
    """

    def __init__(
        self, data: DataConfig, evaluation: EvaluationConfig, segments: int, seed: int
    ) -> None:
        self._data = data
        self._clips = evaluation.clips
        self._crops: int = evaluation.crops
        self._segments = segments
        self._seed = seed
        self.target = _target(data, evaluation)
        """Height and width of the network's input."""

    @property
    def count(self) -> int:
        """Views per video."""
        return self._clips * self._crops

    def view(self, clip: Clip, size: Size, number: int) -> tuple[npt.NDArray[np.int64], Crop]:
        """One view: (T, 5) frame numbers from 0, and the crop.

        Args:
            clip: The video.
            size: Height and width of its pictures as they are shown.
            number: Of the view, from 0.
        """
        data = self._data
        starts = self._starts(clip, number // self._crops)
        crops = protocol_crops(size, self.target, data.short_side, self._crops)
        return clip_frames(starts, clip.frames, data.stride), crops[number % self._crops]

    def _starts(self, clip: Clip, number: int) -> npt.NDArray[np.int64]:
        data, segments = self._data, self._segments
        if data.sampling == "dense":
            place = 0.5 if self._clips == 1 else number / (self._clips - 1)
            return dense_starts(clip.frames, segments, data.dense_span, place)
        if self._clips == 1:
            return validation_starts(clip.frames, segments, data.stride)
        # By the row, not by the position: the draws do not depend on which files are usable.
        rng = generator(self._seed, number, clip.row, Purpose.TEST_CLIP)
        return train_starts(clip.frames, segments, rng, data.stride)


def _target(data: DataConfig, evaluation: EvaluationConfig) -> Size:
    side = evaluation.crop_size
    if side is None:
        # The published 3 crops are as large as the resized frame is high.
        square = isinstance(data.crop_size, int)
        side = data.short_side if evaluation.crops == 3 and square else data.crop_size
    return as_size(side)
