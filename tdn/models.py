"""Networks by name: ``<variant>_<backbone>``, for example ``tdn_resnet50``."""

from __future__ import annotations

import difflib

from tdn.errors import UserError
from tdn.network import Backbone, Ideas, Network
from tdn.resnet import BasicBlock, Bottleneck

VARIANTS = {
    "tdn": Ideas(short_term=True, long_term=True, temporal_conv=True),
    "tsn": Ideas(short_term=False, long_term=False, temporal_conv=False),
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
) -> Network:
    """A network with fresh random weights.

    Args:
        name: one of ``list_models()``.
        num_classes: number of classes.
        num_segments: segments per clip, T; 8 and 16 are the published networks.
        dropout: probability of dropping a feature before the classifier, 0 <= dropout < 1.
        width: channels of the stem; 64 is the published ResNet.

    Returns:
        The network, in training mode.

    Raises:
        UserError: an unknown name, or a number out of range.
    """
    if name not in list_models():
        near = difflib.get_close_matches(name, list_models(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"model.name: there is no {name!r}; {hint}a name is {' or '.join(VARIANTS)}, "
            f"an underscore, and one of {', '.join(BACKBONES)}"
        )
    counts = {"num_classes": num_classes, "num_segments": num_segments, "width": width}
    for key, value in counts.items():
        if value < 1:
            raise UserError(f"model.{key} is {value}; set it to 1 or more")
    if not 0 <= dropout < 1:
        raise UserError(f"model.dropout is {dropout}; set it to 0 or more and less than 1")
    variant, backbone = name.split("_")
    return Network(
        BACKBONES[backbone], VARIANTS[variant], num_segments, num_classes, dropout, width
    )
