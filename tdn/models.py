"""Networks by name: ``<variant>_<backbone>``, for example ``tdn_resnet50``."""

from __future__ import annotations

import difflib
import functools
import logging

from tdn.clip_classifier import Ideas, published_fusion_weights
from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.network import Backbone, Network
from tdn.resnet import BasicBlock, Bottleneck

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

_log = logging.getLogger("tdn")


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
        UserError: an unknown name, a number out of range, or a detail of a temporal module that
            the named network does not have.
    """
    if name not in list_models():
        near = difflib.get_close_matches(name, list_models(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"model.name: there is no {name!r}; {hint}a name is one of {', '.join(VARIANTS)}, "
            f"an underscore, and one of {', '.join(BACKBONES)}"
        )
    counts = {"num_classes": num_classes, "num_segments": num_segments, "width": width}
    for key, value in counts.items():
        if value < 1:
            raise UserError(f"model.{key} is {value}; set it to 1 or more")
    if not 0 <= dropout < 1:
        raise UserError(f"model.dropout is {dropout}; set it to 0 or more and less than 1")
    variant, backbone = name.split("_")
    ideas = VARIANTS[variant]
    _check_temporal(temporal, name, ideas)
    if ideas.short_term and temporal.fusion_weights is None and num_segments != 8:
        _warn_of_fusion_weights(num_segments)
    network = Network(
        BACKBONES[backbone], ideas, num_segments, num_classes, dropout, width, temporal
    )
    if partial_bn:
        network.freeze_batch_norms()
    return network


def _check_temporal(temporal: TemporalConfig, name: str, ideas: Ideas) -> None:
    """Refuse values that make no network, and those that the named one has no use for."""
    if not temporal.stages or not set(temporal.stages) <= {1, 2, 3, 4}:
        raise UserError(
            f"model.temporal.stages is {list(temporal.stages)}; give some of the stages 1 to 4"
        )
    published = TemporalConfig()
    owners = {
        "fusions": ("S-TDM", ideas.short_term),
        "fusion_weights": ("S-TDM", ideas.short_term),
        "directions": ("L-TDM", ideas.long_term),
        "branches": ("L-TDM", ideas.long_term),
        "stages": ("L-TDM", ideas.long_term),
    }
    for key, (module, present) in owners.items():
        if not present and getattr(temporal, key) != getattr(published, key):
            raise UserError(
                f"model.temporal.{key} is set, but {name} has no {module}; "
                "drop the key or choose a network that has one"
            )


@functools.cache
def _warn_of_fusion_weights(num_segments: int) -> None:
    """Say once which rule holds, as it changes the network between 8 and other segments."""
    a, b = published_fusion_weights(num_segments)
    _log.warning(
        "model.num_segments %d: S-TDM's fusions weigh frame and differences %g and %g, the "
        "released code's rule for all but 8 segments; model.temporal.fusion_weights changes it",
        num_segments,
        a,
        b,
    )
