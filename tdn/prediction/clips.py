"""One clip of one video, as the network gets it."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tdn.config import Config, EvaluationConfig
from tdn.errors import UserError
from tdn.prediction.videos import read_video
from tdn.prediction.windows import WindowLoader, WindowPlanner, whole


class CentreClip(NamedTuple):
    """The clip that validation takes of a video: the centres of its segments' parts."""

    clip: torch.Tensor
    """(1, T, 5, H, W, 3) uint8, on the device."""
    frames: npt.NDArray[np.int64]
    """(T, 5) frame numbers, from 0."""
    seconds: npt.NDArray[np.float64]
    """(T, 5) when they are shown."""


def centre_clip(video: str, config: Config, device: torch.device) -> CentreClip:
    """Read a video's clip.

    Args:
        video: A file, or a folder of frames.
        config: Its ``data`` and ``model.num_segments`` are read.
        device: Where the pipeline decodes.

    Raises:
        UserError: The video cannot be read.
    """
    manifest, times, _ = read_video(video, config.data.frame_template)
    planner = WindowPlanner(
        manifest,
        dataclasses.replace(config.data, batch_size=1, memory_limit=0.0),
        config.model.num_segments,
        train=False,
        evaluation=EvaluationConfig(crop_size=config.data.crop_size),
        windows=tuple(whole(0, times[0])),
    )
    with closing(WindowLoader(planner, device)) as loader:
        batch = next(iter(loader), None)
        if batch is None:
            raise UserError(f"{video}: {loader.problems[0]}")
        frames = batch.frame_numbers[0].numpy()
        return CentreClip(batch.clips.clone(), frames, times[0][frames])
