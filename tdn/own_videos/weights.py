"""Which network the weights in a file are for, so that nobody has to say it again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tdn.checkpoint import OWN, TORCHVISION, UPSTREAM_HEADS, read_weights, recognise
from tdn.clip_classifier import Ideas
from tdn.config import Config, ModelConfig
from tdn.errors import UserError
from tdn.models import BACKBONES, VARIANTS
from tdn.network import Backbone
from tdn.resnet import BasicBlock, Bottleneck
from tdn.trained import recorded_config

_BLOCK = re.compile(r"(?:.*\.)?(?:stage|layer)([1-4])(?:_bak)?\.([0-9]+)\.(.+)")
_STEMS = ("stem.conv.weight", "base_model.conv1.weight", "conv1.weight")


class Weights(NamedTuple):
    """A file of weights, and the network that they fit."""

    path: Path
    format: str
    """What the file is, in words (``tdn.checkpoint``)."""
    model: ModelConfig
    """The network; ``num_classes`` is 0 if its classifier is not to be used."""
    classes: tuple[str, ...] = ()
    """Names of its classes, if it has any."""
    config: Config | None = None
    """What it was trained with, if the file tells."""

    @property
    def knows_motion(self) -> bool:
        """Whether the temporal modules are trained, too."""
        return self.format != TORCHVISION


def look_into(path: Path) -> Weights:
    """Find out what the weights in a file are for.

    Raises:
        UserError: The file is no checkpoint, or of a network that has no name here.
    """
    tensors, content, _ = read_weights(path)
    kind = recognise(tensors, path)
    if kind == OWN and isinstance(content.get("config"), dict):
        config = recorded_config(path)
        classes = tuple(map(str, content.get("classes", ())))
        return Weights(path, kind, config.model, classes, config)
    heads = ("classifier", *UPSTREAM_HEADS)
    head = next((tensors[f"{head}.bias"] for head in heads if f"{head}.bias" in tensors), None)
    stem = next(tensors[name] for name in _STEMS if name in tensors)
    model = ModelConfig(
        name=f"{_variant(tensors) if kind == OWN else 'tdn'}_{_backbone(tensors, path)}",
        width=len(stem),
        num_classes=0 if head is None else len(head),
    )
    return Weights(path, kind, model)


def _backbone(names: Iterable[str], path: Path) -> str:
    """The backbone with as many blocks in each stage."""
    depths, bottleneck = [0, 0, 0, 0], False
    for name in names:
        if match := _BLOCK.fullmatch(name):
            stage, block = int(match[1]) - 1, int(match[2])
            depths[stage] = max(depths[stage], block + 1)
            bottleneck |= match[3] == "conv3.weight"
    wanted = Backbone(Bottleneck if bottleneck else BasicBlock, tuple(depths))  # type: ignore[arg-type]
    for name, backbone in BACKBONES.items():
        if backbone == wanted:
            return name
    raise UserError(
        f"{path}: is of a network with {', '.join(map(str, depths))} blocks in its stages, which "
        f"has no name here; give weights of one of {', '.join(BACKBONES)}"
    )


def _variant(names: Iterable[str]) -> str:
    """Which of the temporal modules there are."""
    names = list(names)
    ideas = Ideas(
        short_term=any(name.startswith("short_term.") for name in names),
        long_term=any(".long_term." in name for name in names),
        temporal_conv=any(".temporal_conv." in name for name in names),
    )
    return next(name for name, known in VARIANTS.items() if known == ideas)
