"""Settings that fit a machine and a data set, each with the reason for it.

Nothing here measures anything: the same machine, videos and weights give the same settings. How
many epochs there is time for is chosen last, by the clock (``trial``).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import yaml

from tdn.config import Config, TemporalConfig
from tdn.own_videos.footprint import kept_bytes
from tdn.own_videos.machine import GB, Machine
from tdn.own_videos.weights import Weights
from tdn.pipelines.sampling.augmentation import as_size
from tdn.trained import create_network

LEAST_EPOCHS, MOST_EPOCHS = 5, 100
"""Epochs, however little or much time there is. Of ten videos an epoch is a step or two."""
MOST_EPOCHS_FROM_WEIGHTS = 40
"""Epochs of a network that knows something already."""
NO_LIMIT = 100_000
"""Epochs, where somebody asks for minutes."""
MINUTES = {"cpu": 2.0, "cuda": 60.0}
"""What training may take if nothing else is asked for."""
MOST_CLIPS = {"cpu": 8, "cuda": 32}
"""A batch, per process."""
VIDEOS_PER_GPU = 64
"""Training videos from which on another GPU is worth its start."""
VALIDATIONS = 5
"""Of a run: each looks at every validation video."""
_ROOM = 0.7
"""Part of the memory to plan with: workspaces of convs and decoded frames take the rest."""
_BASE = 1.5 * GB
"""What the libraries take, whatever the network: CUDA and cuDNN, or torch and DALI on the CPU."""


class Choice(NamedTuple):
    """A setting, and why."""

    key: str
    value: Any
    reason: str


class Videos(NamedTuple):
    """What the choice depends on."""

    train: int
    """Usable training videos."""
    classes: tuple[str, ...]
    side: int
    """Half of the videos have a shorter side of so many pixels or more."""


@dataclass
class Choices:
    """Settings in the order in which they were chosen; keys that were given are not touched.

    Args:
        config: Has what was given on the command line; gets what is chosen.
        keys: The dotted keys that were given.
    """

    config: Config
    keys: frozenset[str]
    chosen: list[Choice] = field(default_factory=list)

    def choose(self, key: str, value: Any, reason: str) -> None:
        """Set a key, unless it was given."""
        if key not in self.keys:
            section, _, name = key.rpartition(".")
            setattr(getattr(self.config, section), name, value)
            self.chosen.append(Choice(key, value, reason))


def choose(choices: Choices, machine: Machine, videos: Videos, weights: Weights | None) -> None:
    """Choose everything but what depends on the clock.

    Args:
        choices: Gets the settings.
        machine: What there is to train with.
        videos: What is trained on.
        weights: What to start from.
    """
    _choose_network(choices, machine, videos, weights)
    _choose_pictures(choices, machine, videos, weights)
    _choose_flips(choices, videos.classes)
    _choose_batch(choices, machine, videos)
    _choose_optimizer(choices, weights)


def _choose_network(
    choices: Choices, machine: Machine, videos: Videos, weights: Weights | None
) -> None:
    choose = choices.choose
    choose("model.num_classes", len(videos.classes), "one for each folder")
    if weights is not None:
        model, source = weights.model, weights.path.name
        choose("model.name", model.name, f"the network that {source} is of")
        choose("model.width", model.width, f"as in {source}")
        if weights.config is not None:
            choose("model.num_segments", model.num_segments, f"as {source} was trained")
            if model.temporal != TemporalConfig():
                choose("model.temporal", model.temporal, f"as in {source}")
        if weights.knows_motion and not _same_classes(weights, videos.classes):
            reason = f"{source} has {model.num_classes or 'no'} classes, others than these"
            choose("model.new_head", True, reason)
    elif machine.gpus:
        choose("model.name", "tdn_resnet50", "the published network, as there is a GPU")
    else:
        choose("model.name", "tdn_resnet18", "a small network, as there is no GPU")
        choose("model.width", 32, "half of the published width, for a quarter of the work")
    if weights is not None and weights.config is not None:
        choose("model.dropout", weights.model.dropout, f"as {weights.path.name} was trained")
    elif weights is not None or machine.gpus:
        choose("model.dropout", 0.5, "as published")
    else:
        choose("model.dropout", 0.2, "a small network")


def _same_classes(weights: Weights, classes: Sequence[str]) -> bool:
    """Whether a file's classifier says what these classes are, in this order."""
    return weights.classes == tuple(classes)


def _choose_pictures(
    choices: Choices, machine: Machine, videos: Videos, weights: Weights | None
) -> None:
    """How large the pictures are that the network sees."""
    short, largest = (256, 224) if machine.gpus else (128, 112)
    crop: int | tuple[int, int] = largest
    reason = "as published" if machine.gpus else "small, as there is no GPU"
    if (
        weights is not None
        and weights.config is not None
        and max(as_size(weights.config.data.crop_size)) <= largest
    ):
        short, crop = weights.config.data.short_side, weights.config.data.crop_size
        reason = f"as {weights.path.name} was trained"
    elif videos.side < 0.75 * short:  # more pixels than there are would tell nothing more
        short = max(64, videos.side // 16 * 16)
        crop = short * 7 // 8 // 16 * 16
        reason = f"half of the videos are only {videos.side} pixels high or wide, or less"
    choices.choose("data.short_side", short, reason)
    choices.choose("data.crop_size", crop, f"of the shorter side's {short} pixels")
    cores = max(1, machine.cores // max(1, machine.gpus))
    choices.choose("data.num_threads", min(8, cores), "CPU cores that decode")


_SIDES = re.compile(
    r"(?<![A-Za-z])(?:left|right|Left|Right|LEFT|RIGHT)(?![a-z])|(?<=[a-z])(?:Left|Right)(?![a-z])"
)
"""The words in a name; not in "bright" or "leftover"."""


def _choose_flips(choices: Choices, classes: Sequence[str]) -> None:
    """Whether clips are mirrored, and what becomes of classes that are each other's mirror."""
    sided = [name for name in classes if _SIDES.search(name)]
    mirrored = {name: _SIDES.sub(_other_side, name) for name in sided}
    if not sided:
        reason = "half of the clips are mirrored; --data.flip false if left and right matter"
        choices.choose("data.flip", True, reason)
    elif all(other in classes for other in mirrored.values()):
        labels = {classes.index(name): classes.index(other) for name, other in mirrored.items()}
        choices.choose("data.flip", True, "half of the clips are mirrored")
        reason = f"mirrored, '{sided[0]}' is '{mirrored[sided[0]]}'"
        choices.choose("data.flip_labels", labels, reason)
    else:
        lone = next(name for name, other in mirrored.items() if other not in classes)
        choices.choose("data.flip", False, f"no clip is mirrored, for '{lone}' would be wrong then")


def _other_side(match: re.Match[str]) -> str:
    """left for right and the reverse, written alike."""
    word = match[0]
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


def processes(machine: Machine, train: int) -> int:
    """Processes that train together: one for each GPU, as far as the videos are enough."""
    return max(1, min(machine.gpus, train // VIDEOS_PER_GPU))


def _choose_batch(choices: Choices, machine: Machine, videos: Videos) -> None:
    """A power of two, as large as is of use and fits."""
    together = processes(machine, videos.train)
    each = max(1, videos.train // together)
    where = "GPU memory" if machine.gpus else "free memory"
    limits = [
        (MOST_CLIPS["cuda" if machine.gpus else "cpu"], "more at a time would hardly be faster"),
        (max(min(2, each), each // 2), f"{videos.train} training videos are some steps then"),
        (
            clips_that_fit(choices.config, machine),
            f"what {machine.memory / GB:.0f} GB of {where} take",
        ),
    ]
    most, reason = min(limits)
    batch = 1 << (most.bit_length() - 1)
    choices.choose("data.batch_size", batch, reason + (", on each GPU" if together > 1 else ""))


def clips_that_fit(config: Config, machine: Machine) -> int:
    """Clips whose training step there is memory for; at least 1."""
    height, width = as_size(config.data.crop_size)
    with torch.device("meta"):
        network = create_network(config.model)
    weights = 4 * 4 * sum(parameter.numel() for parameter in network.parameters())
    clip = kept_bytes(network, height, width) / (2 if machine.half else 1)
    return max(1, int((machine.memory * _ROOM - _BASE - weights) / clip))


def _choose_optimizer(choices: Choices, weights: Weights | None) -> None:
    choose = choices.choose
    choose("schedule.name", "one_cycle", "rises, then falls to nothing, in any number of steps")
    choose("optimizer.name", "adamw", "needs no tuning to a data set")
    if choices.config.optimizer.name != "adamw":  # the other defaults are for that, too
        return
    if weights is None:
        choose("optimizer.lr", 1e-3, "from random weights")
    else:
        choose("optimizer.lr", 1e-4, f"small, to keep what {weights.path.name} knows")
        if choices.config.model.new_head or not weights.knows_motion:
            factors = {"classifier": {"lr": 10.0}}
            choose("optimizer.multipliers", factors, "the classifier is new and has more to learn")
    choose("optimizer.weight_decay", 0.02, "usual for adamw")
    choose("optimizer.clip_norm", 5.0, "against single bad steps")


def choose_epochs(
    choices: Choices,
    epoch_seconds: float,
    minutes: float,
    most: int,
) -> None:
    """Choose how long to train.

    Args:
        choices: Gets the settings.
        epoch_seconds: An epoch, as it was measured.
        minutes: That there are.
        most: Epochs that are of use.
    """
    epochs = epochs_in(epoch_seconds, minutes, most)
    took = in_minutes(epochs * epoch_seconds)
    if epochs == most:
        reason = f"about {took}; more would hardly help"
    elif epochs * epoch_seconds > 60 * minutes:
        reason = f"about {took}, as fewer would not be worth it; --minutes {minutes:g} is too short"
    else:
        reason = f"about {took}: what there is time for (--minutes {minutes:g})"
    choices.choose("training.epochs", epochs, reason)
    every = max(1, math.ceil(choices.config.training.epochs / VALIDATIONS))
    choices.choose("training.validate_every", every, "epochs from one validation to the next")


def epochs_in(epoch_seconds: float, minutes: float, most: int) -> int:
    """Epochs that there is time for, within what makes sense."""
    return max(LEAST_EPOCHS, min(most, int(60 * minutes / epoch_seconds)))


def in_minutes(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def in_words(value: Any) -> str:
    """A value as it is written in YAML, in a line."""
    plain = dataclasses.asdict(value) if isinstance(value, TemporalConfig) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
