"""A batch of the loader as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.config import Config
from tdn.errors import UserError
from tdn.pipelines.loader import Loader, create_loader
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sampling.photometric import Box
from tdn.pipelines.sampling.plans import View, upright_size
from tdn.pipelines.sources.listing import read_class_names
from tdn.training.extras.mixing import Mix, draw_mix
from tdn.visualization.batch_sheet import Row, batch_sheet


def draw_batch(
    config: Config,
    split: Literal["train", "validation", "test"],
    *,
    epoch: int = 0,
    step: int = 0,
    clips: int | None = None,
    side: int = 112,
) -> Image.Image:
    """Draw what the network is fed in one step, on one process.

    Args:
        config: The run's configuration.
        split: As ``create_loader``'s.
        epoch: Epoch of training, from 0.
        step: Step of the epoch, from 0.
        clips: How many of the batch's clips; by default all.
        side: Longest side of a drawn frame, pixels.

    Raises:
        UserError: The epoch has no such step, or its clips cannot be read.
    """
    with closing(create_loader(config, split, epoch=epoch, start_step=step)) as loader:
        manifest = loader.planner.manifest
        if not len(loader):
            raise UserError(
                f"--step: {step} does not fit, {manifest.list_path} has {loader.planner.steps} "
                f"steps of {config.data.batch_size} clips; give a number from 0 to "
                f"{loader.planner.steps - 1}"
            )
        names = _class_names(config, manifest)
        batch = next(iter(loader), None)
        if batch is None:
            raise UserError(f"{manifest.list_path}: no clip of step {step} can be decoded")
        views, pictures = _views(loader, epoch, step), batch.clips
        mix = None
        if split == "train":
            of_run = epoch * loader.planner.steps + step
            mix = draw_mix(config.training, config.seed, of_run, 0, pictures.shape)
    if mix is not None:
        pictures = mix.clips(pictures)
    pairs = zip(views, pictures.cpu().numpy(), strict=True)
    rows = [_row(view, frames, names) for view, frames in pairs]
    if mix is not None:
        partners = rows[mix.shift :] + rows[: mix.shift]
        rows = [_mixed(row, mix, partner) for row, partner in zip(rows, partners, strict=True)]
    return batch_sheet(rows[:clips], side)


def _views(loader: Loader, epoch: int, step: int) -> list[View]:
    """What the first batch from a step on was made of; a batch of lost files alone is left out."""
    plans = (loader.planner.batch(epoch, later) for later in range(step, loader.planner.steps))
    return next(views for views in plans if views)


def _row(view: View, frames: npt.NDArray[np.uint8], names: Sequence[str]) -> Row:
    clip, crop = view.clip, view.crop
    y, x = crop.window[:2]
    y0, x0, y1, x1 = crop.region
    box = (y + y0, x + min(x0, x1), y + y1, x + max(x0, x1))
    label = _named(view.label, names)
    if view.label != clip.label:
        label += f" (mirrored {_named(clip.label, names)})"
    return Row(
        frames,
        view.frames,
        label,
        clip.name,
        _in_words(view, box, frames.shape[2:4]),
        upright_size(clip),
        box,
        mirrored=x1 < x0,
    )


def _mixed(row: Row, mix: Mix, partner: Row) -> Row:
    """The row of a clip that has part of another one."""
    share, rest = (f"{100 * part:.0f} %" for part in (mix.share, 1 - mix.share))
    what = "blended with" if mix.box is None else f"with the {_placed(mix.box)} of"
    return row._replace(
        label=f"{share} {row.label} + {rest} {partner.label}",
        cut=f"{row.cut}; {what} {partner.file}",
    )


def _in_words(view: View, box: tuple[float, float, float, float], target: Sequence[int]) -> str:
    """What was done to the video's frames."""
    y0, x0, y1, x1 = box
    words = [
        f"{view.clip.frames} frames of {_size(*upright_size(view.clip))}",
        f"cut at y {y0:.0f}, x {x0:.0f}: {_size(y1 - y0, x1 - x0)}, resized to {_size(*target)}",
    ]
    if view.crop.region[3] < view.crop.region[1]:
        words.append("mirrored")
    if view.look.color is not None:
        words += view.look.color.operations
    erased = view.look.erased
    if erased:
        words.append(f"erased {_placed(erased)}")
    return "; ".join(words)


def _placed(box: Box) -> str:
    return f"{_size(box.height, box.width)} at y {box.y}, x {box.x}"


def _size(height: float, width: float) -> str:
    return f"{height:.0f} x {width:.0f}"


def _named(label: int, names: Sequence[str]) -> str:
    return f"{label} {names[label]}" if label < len(names) else f"label {label}"


def _class_names(config: Config, manifest: Manifest) -> Sequence[str]:
    """The list's own names, those of data.classes, or of a file labels.txt beside the list."""
    if manifest.classes:
        return manifest.classes
    if config.data.classes:
        return read_class_names(config.data.classes)
    beside = manifest.list_path.with_name("labels.txt")
    names = beside.read_text(errors="replace").splitlines() if beside.is_file() else []
    return names if len(names) == config.model.num_classes else ()
