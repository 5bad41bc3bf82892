"""TDN on other backbones, such as those of timm: temporal modules in networks made elsewhere.

    import timm
    from tdn.adapter import adapt
    model = adapt(timm.create_model("regnety_016", pretrained=True), num_classes=174)

What it needs of a backbone (``Anatomy``): a stem and four stages that run one after the other on
images, and in every block a module to put L-TDM and the temporal conv behind. S-TDM is the stem
again, its first conv widened to frame differences, and a copy of stage 1: so pretrained weights
start it too. What the backbone has beside these, such as its classifier, is not used.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tdn.clip_classifier import ClipClassifier
from tdn.config import ModelConfig, TemporalConfig
from tdn.errors import UserError
from tdn.long_term_kernels import mix_over_time
from tdn.model_rules import Ideas, check_model
from tdn.models import VARIANTS
from tdn.resnet import TemporalModules
from tdn.short_term import inflated

PROBE_SIZE = 64
"""Pixels of the image that is passed through a backbone to learn its channels."""


@dataclass(frozen=True)
class Anatomy:
    """Where a backbone has what TDN needs; names are dotted, from the backbone down."""

    stem: tuple[str, ...]
    """Modules from the image to the input of stage 1; the first conv takes 3 channels."""
    stages: tuple[str, str, str, str]
    """Modules of the four stages."""
    carrier: str
    """Child of every block whose output (M, C, H, W) L-TDM and the temporal conv take over."""


ANATOMIES = {
    "ResNet": Anatomy(
        ("conv1", "bn1", "act1", "maxpool"), ("layer1", "layer2", "layer3", "layer4"), "act1"
    ),
    "RegNet": Anatomy(("stem",), ("s1", "s2", "s3", "s4"), "conv1"),
    "ConvNeXt": Anatomy(("stem",), ("stages.0", "stages.1", "stages.2", "stages.3"), "conv_dw"),
}
"""Those of timm's networks, by class: ResNet (with ResNet-D and ResNeXt), RegNet, ConvNeXt."""


def adapt(
    backbone: nn.Module,
    *,
    num_classes: int,
    num_segments: int = 8,
    dropout: float = 0.5,
    anatomy: Anatomy | None = None,
    ideas: Ideas = VARIANTS["tdn"],
    temporal: TemporalConfig = TemporalConfig(),  # noqa: B008 - frozen
) -> ClipClassifier:
    """A video classifier of a backbone's modules, which it takes over with their weights.

    Args:
        backbone: an image network.
        num_classes: number of classes.
        num_segments: segments per clip, T.
        dropout: probability of dropping a feature before the classifier.
        anatomy: where the backbone has what; None looks its class up in ``ANATOMIES``.
        ideas: which of the temporal modules to add.
        temporal: details of these.

    Returns:
        A network like those of ``tdn.create_model``, in training mode.

    Raises:
        UserError: a value does not fit; or the backbone lacks something that the anatomy names,
            has no known anatomy, or was adapted before. It is then as it was.
    """
    kind = type(backbone).__name__
    settings = ModelConfig(
        num_segments=num_segments, num_classes=num_classes, dropout=dropout, temporal=temporal
    )
    temporal = check_model(f"the adapted {kind}", ideas, settings)
    if anatomy is None:
        if kind not in ANATOMIES:
            raise UserError(
                f"backbone {kind}: its anatomy is not known; pass one with anatomy=Anatomy(...)"
            )
        anatomy = ANATOMIES[kind]
    return AdaptedNetwork(backbone, anatomy, ideas, temporal, num_segments, num_classes, dropout)


class CopiedShortTermTDM(nn.Module):
    """S-TDM after a backbone's own stem and stage 1.

    Args:
        stem: of the backbone; copied.
        stage: its stage 1; copied. None if the second features are not used.
    """

    def __init__(self, stem: nn.Sequential, stage: nn.Module | None) -> None:
        super().__init__()
        self.stem = copy.deepcopy(stem)
        self.stage = copy.deepcopy(stage)
        conv = next(module for module in self.stem.modules() if isinstance(module, nn.Conv2d))
        conv.weight = nn.Parameter(inflated(conv.weight.detach()).clone())
        conv.in_channels = conv.weight.shape[1]

    def forward(self, differences: Tensor) -> tuple[Tensor, Tensor | None]:
        """First and second features of frame differences (N*T, 12, H, W)."""
        first = self.stem(differences)
        return first, None if self.stage is None else self.stage(first)


class Carrier(nn.Module):
    """A module of a backbone, and the temporal modules that take over its output.

    Args:
        carrier: the backbone's module.
        channels: C of its output.
        temporal: what takes over.
    """

    def __init__(self, carrier: nn.Module, channels: int, temporal: TemporalModules) -> None:
        super().__init__()
        self.carrier = carrier
        self.long_term = temporal.build_long_term(channels)
        self.temporal_conv = temporal.build_temporal_conv(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N*T, C, H, W) of the carrier's input."""
        return mix_over_time(self.long_term, self.temporal_conv, self.carrier(x))


class AdaptedNetwork(ClipClassifier):
    """A backbone with temporal modules (see ``adapt``)."""

    def __init__(
        self,
        backbone: nn.Module,
        anatomy: Anatomy,
        ideas: Ideas,
        temporal: TemporalConfig,
        num_segments: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__(ideas, temporal, num_segments, num_classes)
        self.stem = nn.Sequential(*(_find(backbone, name) for name in anatomy.stem))
        stages = [_find(backbone, name) for name in anatomy.stages]
        if any(isinstance(module, Carrier) for module in backbone.modules()):
            raise UserError(
                f"backbone {type(backbone).__name__}: it is part of an adapted network already; "
                "adapt a new one"
            )
        channels, features = _probe(self.stem, stages, anatomy.carrier)
        self.short_term = None
        if ideas.short_term:
            twice = temporal.fusions != "first"
            self.short_term = CopiedShortTermTDM(self.stem, stages[0] if twice else None)
        for number, stage in enumerate(stages, start=1):
            _insert(stage, anatomy.carrier, channels[number - 1], self.carried(number))
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)
        self.train()


def _find(backbone: nn.Module, name: str) -> nn.Module:
    try:
        return backbone.get_submodule(name)
    except AttributeError as error:
        raise UserError(
            f"backbone {type(backbone).__name__}: it has no module {name}; correct the anatomy"
        ) from error


def _blocks(stage: nn.Module, carrier: str) -> list[nn.Module]:
    return [module for module in stage.modules() if carrier in dict(module.named_children())]


@torch.no_grad()
def _probe(stem: nn.Module, stages: list[nn.Module], carrier: str) -> tuple[list[list[int]], int]:
    """Channels behind the carriers, by stage and block, and those of the last stage.

    They are seen on an image that passes through a copy: whatever comes of it, the backbone
    itself keeps its mode and statistics and gets no hooks.
    """
    network = copy.deepcopy(nn.Sequential(stem, *stages)).eval()
    seen: dict[nn.Module, int] = {}

    def see(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            seen[module] = output.shape[1]

    carriers = []
    for stage in list(network)[1:]:
        carriers.append([block.get_submodule(carrier) for block in _blocks(stage, carrier)])
        for module in carriers[-1]:
            module.register_forward_hook(see)
    image = next(network.parameters()).new_zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
    try:
        output = network(image)
    except Exception as error:  # whatever modules make of it that do not belong together
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"backbone: its stem and stages do not run one after the other on an image ({reason}); "
            "correct the anatomy"
        ) from error
    for number, modules in enumerate(carriers, start=1):
        lack = f"no block of stage {number} has a module {carrier}" if not modules else ""
        if not seen.keys() >= set(modules):
            lack = f"the module {carrier} of stage {number} gives no maps (M, C, H, W)"
        if lack:
            raise UserError(f"backbone: {lack}; correct the anatomy")
    return [[seen[module] for module in modules] for modules in carriers], output.shape[1]


def _insert(stage: nn.Module, carrier: str, channels: list[int], temporal: TemporalModules) -> None:
    """Put the temporal modules behind the carrier of every block."""
    for block, c in zip(_blocks(stage, carrier), channels, strict=True):
        block.add_module(carrier, Carrier(block.get_submodule(carrier), c, temporal))
