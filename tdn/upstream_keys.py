"""Names of tensors: ours, the keys of the released checkpoints, those of torchvision's ResNets.

A name is a path of dotted parts. Its beginning says where in the network a module is, its end
which part of a residual block it is, and each has its table here: our
``stage2.0.long_term.reduce.weight`` is ``base_model.layer2_bak.0.mse.conv1.weight`` in the
released code. Keys are given and returned without the ``module.`` of DistributedDataParallel.
"""

from __future__ import annotations

HEAD_WITH_DROPOUT = "new_fc"
"""Where the released code has the classifier of a network with dropout."""

HEAD_WITHOUT_DROPOUT = "base_model.fc"
"""Where it has that of a network without."""

_UPSTREAM = {
    "stem.conv": "base_model.conv1",
    "stem.norm": "base_model.bn1",
    "short_term.conv": "base_model.conv1_5.0",
    "short_term.norm": "base_model.conv1_5.1",
    "short_term.stage": "base_model.resnext_layer1",
    "stage1": "base_model.layer1_bak",
    "stage2": "base_model.layer2_bak",
    "stage3": "base_model.layer3_bak",
    "stage4": "base_model.layer4_bak",
    "classifier": HEAD_WITH_DROPOUT,
}

_TORCHVISION = {
    "stem.conv": "conv1",
    "stem.norm": "bn1",
    "short_term.stage": "layer1",
    "stage1": "layer1",
    "stage2": "layer2",
    "stage3": "layer3",
    "stage4": "layer4",
}

_RESNET_BLOCK = {
    "conv1": "conv1",
    "norm1": "bn1",
    "conv2": "conv2",
    "norm2": "bn2",
    "conv3": "conv3",
    "norm3": "bn3",
    "shortcut.conv": "downsample.0",
    "shortcut.norm": "downsample.1",
}

_UPSTREAM_BLOCK = {
    **_RESNET_BLOCK,
    "long_term.reduce": "mse.conv1",
    "long_term.reduce_norm": "mse.bn1",
    "long_term.smooth": "mse.conv2",
    "long_term.expand": "mse.conv3",
    "long_term.expand_norm": "mse.bn3",
    "long_term.half_conv": "mse.conv3_smallscale2",
    "long_term.half_norm": "mse.bn3_smallscale2",
    "long_term.full_conv": "mse.conv3_smallscale4",  # at full resolution, in spite of its name
    "long_term.full_norm": "mse.bn3_smallscale4",
    "temporal_conv": "shift.conv",
}

DEAD = "base_model.conv1_temp"
"""A conv of the released code that no forward pass uses; ours does not have it."""


def upstream_key(name: str) -> str:
    """The released code's key of our tensor ``name``."""
    key = _translate(name, _UPSTREAM, _UPSTREAM_BLOCK)
    if key is None:
        raise KeyError(name)
    return key


def name_of_upstream(key: str) -> str | None:
    """Our name of the tensor that the released code calls ``key``; None if we have no such."""
    if key.startswith(f"{HEAD_WITHOUT_DROPOUT}."):
        key = key.replace(HEAD_WITHOUT_DROPOUT, HEAD_WITH_DROPOUT)
    return _translate(key, _inverse(_UPSTREAM), _inverse(_UPSTREAM_BLOCK))


def torchvision_key(name: str) -> str | None:
    """The key in torchvision's ResNet that our tensor ``name`` starts from; None if there is none.

    Its stage 1 starts two of ours, the network's own and that of S-TDM. Its convs have no biases.
    """
    if name.endswith(".bias") and name.split(".")[-2].startswith("conv"):
        return None
    return _translate(name, _TORCHVISION, _RESNET_BLOCK)


def _translate(name: str, places: dict[str, str], parts: dict[str, str]) -> str | None:
    """``name`` with its place, and its part of a block if it has one, put as the tables say."""
    place, rest = _split(name, places)
    index, _, inside = rest.partition(".")
    if not index.isdigit():
        return f"{places[place]}.{rest}" if place else None
    part, tensor = _split(inside, parts)
    return f"{places[place]}.{index}.{parts[part]}.{tensor}" if place and part else None


def _split(name: str, table: dict[str, str]) -> tuple[str, str]:
    """The table's entry that ``name`` begins with, in whole parts, or ""; and what follows."""
    entry = next((entry for entry in table if name.startswith(f"{entry}.")), "")
    return entry, name.removeprefix(f"{entry}.")


def _inverse(table: dict[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}
