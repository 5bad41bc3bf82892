"""The network: a ResNet on every segment's centre frame, with S-TDM, L-TDM and temporal convs.

How clips pass through it is told in ``tdn.clip_classifier``; here are its parts. Stages 2 to 4
carry an L-TDM and a temporal conv in every block (paper section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tdn.clip_classifier import ClipClassifier
from tdn.config import TemporalConfig
from tdn.model_rules import Ideas
from tdn.resnet import Block, Stem, TemporalModules, make_stage
from tdn.short_term import ShortTermTDM, inflated


@dataclass(frozen=True)
class Backbone:
    """A ResNet's shape."""

    block: Block
    """Kind of residual block."""
    depths: tuple[int, int, int, int]
    """Blocks in each stage."""


class Network(ClipClassifier):
    """A ResNet with temporal modules (see ``tdn.create_model``).

    Args:
        backbone: shape of the ResNet.
        ideas: what it has beyond a ResNet.
        num_segments: T.
        num_classes: number of classes.
        dropout: probability of dropping a feature before the classifier.
        width: channels of the stem.
        temporal: details of the temporal modules that it has.
    """

    stem: Stem
    short_term: ShortTermTDM | None
    backbone: Backbone
    """Its shape."""
    width: int
    """Channels of the stem."""
    upstream_head: str | None = None
    """Where the released checkpoint that was loaded last had the classifier; None if none was."""

    def __init__(
        self,
        backbone: Backbone,
        ideas: Ideas,
        num_segments: int,
        num_classes: int,
        dropout: float,
        width: int,
        temporal: TemporalConfig = TemporalConfig(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(ideas, temporal, num_segments, num_classes)
        self.backbone = backbone
        self.width = width
        block = backbone.block
        plain = TemporalModules(num_segments)
        carried = [self.carried(stage) for stage in (1, 2, 3, 4)]
        d1, d2, d3, d4 = backbone.depths
        c1, c2, c3, c4 = (width * factor * block.expansion for factor in (1, 2, 4, 8))
        self.stem = Stem(width)
        self.short_term = None
        if ideas.short_term:
            twice = temporal.fusions != "first"
            stage = make_stage(block, width, width, d1, 1, plain) if twice else None
            self.short_term = ShortTermTDM(width, stage)
        self.stage1 = make_stage(block, width, width, d1, 1, carried[0])
        self.stage2 = make_stage(block, c1, 2 * width, d2, 2, carried[1])
        self.stage3 = make_stage(block, c2, 4 * width, d3, 2, carried[2])
        self.stage4 = make_stage(block, c3, 8 * width, d4, 2, carried[3])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(c4, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weights: convs N(0, sqrt(2 / (k*k*out))), classifier N(0, 0.001)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias)
        if self.short_term is not None:
            with torch.no_grad():
                self.short_term.conv.weight.copy_(inflated(self.stem.conv.weight))
