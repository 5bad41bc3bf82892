"""A batch of the loader as a picture."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.config import Config
from tdn.errors import UserError
from tdn.pipelines.loader import Loader, create_loader
from tdn.pipelines.manifest import Clip
from tdn.pipelines.plans import View
from tdn.visualization.batch_sheet import Row, batch_sheet


def draw_batch(
    config: Config,
    split: Literal["train", "validation"],
    *,
    epoch: int = 0,
    step: int = 0,
    clips: int | None = None,
    side: int = 112,
    class_names: str | None = None,
) -> Image.Image:
    """Draw what the network is fed in one step, on one process.

    Args:
        config: The run's configuration.
        split: Which list.
        epoch: Epoch of training, from 0.
        step: Step of the epoch, from 0.
        clips: How many of the batch's clips; by default all.
        side: Longest side of a drawn frame, pixels.
        class_names: File with a class on every line, in the labels' order; by default labels.txt
            beside the list, if it is there.

    Raises:
        UserError: The epoch has no such step, or its clips or the names cannot be read.
    """
    with closing(create_loader(config, split, epoch=epoch, start_step=step)) as loader:
        manifest = loader.planner.manifest
        if not len(loader):
            raise UserError(
                f"--step: {step} does not fit, {manifest.list_path} has {loader.planner.steps} "
                f"steps of {config.data.batch_size} clips; give a number from 0 to "
                f"{loader.planner.steps - 1}"
            )
        names = _read_names(class_names, manifest.list_path)
        batch = next(iter(loader), None)
        if batch is None:
            raise UserError(f"{manifest.list_path}: no clip of step {step} can be decoded")
        views = _views(loader, epoch, step)
        rows = [
            _row(view, frames, names)
            for view, frames in zip(views[:clips], batch.clips[:clips].cpu().numpy(), strict=True)
        ]
    return batch_sheet(rows, side)


def _views(loader: Loader, epoch: int, step: int) -> list[View]:
    """What the first batch from a step on was made of; a batch of lost files alone is left out."""
    plans = (loader.planner.batch(epoch, later) for later in range(step, loader.planner.steps))
    return next(views for views in plans if views)


def _row(view: View, frames: npt.NDArray[np.uint8], names: list[str]) -> Row:
    clip, crop = view.clip, view.crop
    y, x = crop.window[:2]
    y0, x0, y1, x1 = crop.region
    mirrored = x1 < x0
    box = (y + y0, x + min(x0, x1), y + y1, x + max(x0, x1))
    frame_size = _upright_size(clip)
    cut = (
        f"{clip.frames} frames of {_size(*frame_size)}; cut at y {box[0]:.0f}, x {box[1]:.0f}: "
        f"{_size(box[2] - box[0], box[3] - box[1])}, resized to {_size(*frames.shape[2:4])}"
        + (", mirrored" if mirrored else "")
    )
    label = _named(view.label, names)
    if view.label != clip.label:
        label += f" (mirrored {_named(clip.label, names)})"
    return Row(frames, view.frames, label, clip.path, cut, frame_size, box, mirrored)


def _upright_size(clip: Clip) -> tuple[int, int]:
    sideways = clip.rotation in (90, 270)
    return (clip.width, clip.height) if sideways else (clip.height, clip.width)


def _size(height: float, width: float) -> str:
    return f"{height:.0f} x {width:.0f}"


def _named(label: int, names: list[str]) -> str:
    return f"{label} {names[label]}" if label < len(names) else f"label {label}"


def _read_names(file: str | None, list_path: Path) -> list[str]:
    path = list_path.with_name("labels.txt") if file is None else Path(file)
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        if file is None:
            return []
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"--class-names: {path} cannot be read: {reason}") from None
