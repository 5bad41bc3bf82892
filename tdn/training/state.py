"""Where a run is, and going on from there.

A checkpoint is a dict that ``torch.load(weights_only=True)`` reads: "model" (state dict), "ema"
(the same of the averaged weights, if there are any), "optimizer" (by the names of parameters),
"scaler", the fields of ``RunState`` and ``Pace``, "step" (finished ones of the whole run), "unread"
(what the next line of the log will sum up), "config" (plain dict), "classes" (names of the labels)
and "versions". Nothing random is saved: order, crops and dropout follow from the seed and the
step's number.
"""

from __future__ import annotations

import dataclasses
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

import tdn
from tdn.config import Config
from tdn.config_loading import config_to_dict
from tdn.errors import UserError
from tdn.training.optimizing.optimizer_state import named_state, restore_named_state
from tdn.training.saving.checkpoint_file import Checkpoint
from tdn.training.step import TrainingStep

_log = logging.getLogger(__name__)

_ARCHITECTURE = ("name", "num_segments", "num_classes", "width", "temporal")


@dataclass
class RunState:
    """The position of a run and its validation so far."""

    epoch: int = 0
    """Finished epochs."""
    step_in_epoch: int = 0
    """Finished steps of the current one; all of them while its validation is due."""
    top1: float | None = None
    """Last validation, percent."""
    top5: float | None = None
    best_top1: float | None = None
    skipped: int = 0
    """Steps that were left out because their loss or gradient was not finite."""
    overflows: int = 0
    """Steps that fp16's loss scale left out."""
    skipped_in_row: int = 0
    """Of both, those since the last update."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> RunState:
        """The state a checkpoint was written in."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: checkpoint[name] for name in names if name in checkpoint})


@dataclass(frozen=True)
class Pace:
    """How a run divides the training list; positions mean something only at the same pace."""

    steps_per_epoch: int
    global_batch: int
    """Clips a step, over all processes."""
    videos: str
    """Checksum of the usable videos: others have another order."""

    def steps_done(self, state: RunState) -> int:
        """Finished steps of the whole run."""
        return state.epoch * self.steps_per_epoch + state.step_in_epoch


def global_batch(config: Config, world_size: int) -> int:
    """Clips a step, over all processes."""
    return config.data.batch_size * config.training.accumulate * world_size


def make_checkpoint(
    state: RunState,
    model: nn.Module,
    step: TrainingStep,
    config: Config,
    pace: Pace,
    unread: list[list[float]],
    classes: Sequence[str] = (),
) -> Checkpoint:
    """Everything needed to go on from here.

    Args:
        state: Where the run is.
        model: The network.
        step: Its optimizer, loss scale and averaged weights.
        config: The run's.
        pace: The run's.
        unread: Every process's sums of loss and hits since the last line of the log.
        classes: What the labels are called.
    """
    averaged = {} if step.average is None else {"ema": step.average.module.state_dict()}
    return {
        "model": model.state_dict(),
        **averaged,
        "optimizer": named_state(step.optimizer, model),
        "scaler": step.scaler.state_dict(),
        **dataclasses.asdict(state),
        **dataclasses.asdict(pace),
        "step": state.epoch * pace.steps_per_epoch + state.step_in_epoch,
        "unread": unread,
        "config": config_to_dict(config),
        "classes": list(classes),
        "versions": versions(),
    }


def check_resumable(checkpoint: Checkpoint, path: Path, config: Config) -> None:
    """Refuse to go on with another network or optimizer than the checkpoint's.

    Raises:
        UserError: Names the key and both values.
    """
    current, former = config_to_dict(config), checkpoint["config"]
    keys = [("model", key) for key in _ARCHITECTURE] + [("optimizer", "name")]
    for section, key in keys:
        now, then = current[section][key], former[section][key]
        if now != then:
            raise UserError(
                f"{section}.{key}: {now} does not go with {path}, which was trained with {then}; "
                "choose another output for a new run, or set training.resume none to start over"
            )


def check_same_pace(checkpoint: Checkpoint, path: Path, pace: Pace) -> None:
    """Refuse to go on at another pace.

    Raises:
        UserError: Says both and what decides them.
    """
    former = Pace(*(checkpoint[field.name] for field in dataclasses.fields(Pace)))
    if former != dataclasses.replace(pace, videos=former.videos):
        raise UserError(
            f"{path}: trained with {former.steps_per_epoch} steps an epoch of "
            f"{former.global_batch} clips, now it would be {pace.steps_per_epoch} of "
            f"{pace.global_batch}; keep data.train_list, or start a new run with model.pretrained"
        )
    if former != pace:
        _log.warning(
            "%s: data.train_list has other usable videos than when it was written; from here on "
            "their order is not that of an undisturbed run",
            path,
        )


def restore(checkpoint: Checkpoint, model: nn.Module, step: TrainingStep) -> None:
    """Put the optimizer and the loss scale where the checkpoint left them."""
    restore_named_state(step.optimizer, model, checkpoint["optimizer"])
    if step.scaler.is_enabled() and checkpoint["scaler"]:
        step.scaler.load_state_dict(checkpoint["scaler"])


@cache
def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"tdn": tdn.__version__, "python": platform.python_version()}
    for package in ("torch", "triton", "nvidia-dali-cuda130"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found
