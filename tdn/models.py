"""Networks by name: ``<variant>_<backbone>``, for example ``tdn_resnet50``."""

from __future__ import annotations

import dataclasses
import difflib

from torch import nn

from tdn.config import ModelConfig, TemporalConfig
from tdn.errors import UserError
from tdn.model_rules import Ideas, check_model
from tdn.network import Backbone, Network
from tdn.resnet import BasicBlock, Bottleneck
from tdn.rules import Rule, is_whole

VARIANTS = {
    "tdn": Ideas(short_term=True, long_term=True, temporal_conv=True),
    "tsn": Ideas(short_term=False, long_term=False, temporal_conv=False),
    "tconv": Ideas(short_term=False, long_term=False, temporal_conv=True),
    "stdm": Ideas(short_term=True, long_term=False, temporal_conv=False),
    "ltdm": Ideas(short_term=False, long_term=True, temporal_conv=False),
    "tdms": Ideas(short_term=True, long_term=True, temporal_conv=False),
    "stdm-tconv": Ideas(short_term=True, long_term=False, temporal_conv=True),
    "ltdm-tconv": Ideas(short_term=False, long_term=True, temporal_conv=True),
}
"""What the first half of a name stands for; tsn is the frame-only baseline."""

BACKBONES = {
    "resnet10": Backbone(BasicBlock, (1, 1, 1, 1)),
    "resnet18": Backbone(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Backbone(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Backbone(Bottleneck, (3, 4, 6, 3)),
    "resnet101": Backbone(Bottleneck, (3, 4, 23, 3)),
    "resnet152": Backbone(Bottleneck, (3, 8, 36, 3)),
}
"""What the second half of a name stands for; resnet10 is for demonstrations."""

RELEASED = ("resnet50", "resnet101")
"""Backbones of the released checkpoints; the variant is tdn."""

_WIDTH = Rule("model.width", lambda v: is_whole(v) and v >= 1, "a whole number from 1")


def list_models() -> list[str]:
    """All names that ``create_model`` knows."""
    return [f"{variant}_{backbone}" for variant in VARIANTS for backbone in BACKBONES]


def create_model(
    name: str,
    *,
    num_classes: int,
    num_segments: int = 8,
    dropout: float = 0.5,
    width: int = 64,
    partial_bn: bool = False,
    temporal: TemporalConfig = TemporalConfig(),  # noqa: B008 - frozen
) -> Network:
    """A network with fresh random weights.

    Args:
        name: one of ``list_models()``.
        num_classes: number of classes.
        num_segments: segments per clip, T; 8 and 16 are the published networks.
        dropout: probability of dropping a feature before the classifier, 0 <= dropout < 1.
        width: channels of the stem; 64 is the published ResNet.
        partial_bn: train no batch norm but the first.
        temporal: details of the temporal modules, for ablations within a variant.

    Returns:
        The network, in training mode.

    Raises:
        UserError: an unknown name, a value that does not fit, or a detail of a temporal module
            that the named network does not have.
    """
    if name not in list_models():
        near = difflib.get_close_matches(str(name), list_models(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"model.name: there is no {name!r}; {hint}a name is one of {', '.join(VARIANTS)}, "
            f"an underscore, and one of {', '.join(BACKBONES)}"
        )
    variant, backbone = name.split("_")
    ideas = VARIANTS[variant]
    settings = ModelConfig(name, num_segments, num_classes, dropout, temporal=temporal)
    temporal = check_model(name, ideas, settings)
    _WIDTH.check(width)
    network = Network(
        BACKBONES[backbone], ideas, num_segments, num_classes, dropout, width, temporal
    )
    if partial_bn:
        network.freeze_batch_norms()
    return network


def is_released(network: nn.Module) -> bool:
    """Whether a network has the form of one that there are released checkpoints of.

    It is then of full width, with whole temporal modules; classes, segments and the weights of
    the fusions may be others.
    """
    if not isinstance(network, Network):
        return False
    shapes = [BACKBONES[name] for name in RELEASED]
    whole = dataclasses.replace(network.temporal, fusion_weights=None) == TemporalConfig()
    shaped = network.backbone in shapes and network.width == 64
    return shaped and whole and network.ideas == VARIANTS["tdn"]
