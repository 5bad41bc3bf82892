"""The network: a ResNet on every segment's centre frame, with S-TDM, L-TDM and temporal convs.

    clips -> short-term stem -> centre frames -> stem ---(+)-> stage 1 -(+)-> stages 2, 3, 4 -> head
                             -> differences -> S-TDM ----/-------------/

Stages 2 to 4 carry an L-TDM and a temporal conv in every block. The head pools, drops out and
classifies every segment; a clip's logits are the mean over its segments (paper section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.kernels.fusion import fusion
from tdn.kernels.short_term_stem import FRAMES, centre_frames, short_term_stem
from tdn.resnet import Block, Stem, TemporalModules, make_stage
from tdn.short_term import ShortTermTDM, inflated

SMALLEST_FRAME = 33
"""Pixels; below, the last stage's maps are 1x1 and L-TDM's half-resolution branch is empty."""


@dataclass(frozen=True)
class Backbone:
    """A ResNet's shape."""

    block: Block
    """Kind of residual block."""
    depths: tuple[int, int, int, int]
    """Blocks in each stage."""


@dataclass(frozen=True)
class Ideas:
    """Which of TDN's ideas a network has; none of them is the frame-only baseline."""

    short_term: bool
    """S-TDM beside the stem and stage 1."""
    long_term: bool
    """L-TDM in the blocks of stages 2 to 4."""
    temporal_conv: bool
    """Temporal conv in the same blocks."""


def published_fusion_weights(num_segments: int) -> tuple[float, float]:
    """Those of [frame, differences]: even for 8 segments, else in favour of the frame."""
    return (0.5, 0.5) if num_segments == 8 else (0.75, 0.25)


class Network(nn.Module):
    """A video classifier (see ``tdn.create_model``).

    Args:
        backbone: shape of the ResNet.
        ideas: what it has beyond a ResNet.
        num_segments: T.
        num_classes: number of classes.
        dropout: probability of dropping a feature before the classifier.
        width: channels of the stem.
        temporal: details of the temporal modules that it has.
    """

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
        super().__init__()
        self.num_segments = num_segments
        self.num_classes = num_classes
        self.ideas = ideas
        self.temporal = temporal
        self.partial_bn = False
        self.fusion_weights = temporal.fusion_weights or published_fusion_weights(num_segments)

        block = backbone.block
        plain = TemporalModules(num_segments)
        carried = [self._carried(stage) for stage in (1, 2, 3, 4)]
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

    def _carried(self, stage: int) -> TemporalModules:
        """The temporal modules in the blocks of stage 1, 2, 3 or 4."""
        long_term = self.ideas.long_term and stage in self.temporal.stages
        temporal_conv = self.ideas.temporal_conv and stage > 1
        return TemporalModules(self.num_segments, long_term, temporal_conv, self.temporal)

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

    def freeze_batch_norms(self) -> None:
        """Train no batch norm but the first, from now on: partial BN, for small batches.

        The others normalise by their running statistics, and their weights and biases take no
        gradients.
        """
        self.partial_bn = True
        for norm in self._norms()[1:]:
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        """Switch training mode on or off; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.partial_bn:
            for norm in self._norms()[1:]:
                norm.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]

    def forward(self, clips: Tensor) -> Tensor:
        """Class scores of clips.

        Args:
            clips: uint8 (N, T, 5, H, W, 3) as the pipeline delivers them, or floating point
                (N, T, 5, 3, H, W), then taken as already normalised.

        Returns:
            Logits (N, num_classes).

        Raises:
            UserError: clips have another shape or type.
        """
        return self.segment_logits(clips).mean(dim=1)

    def segment_logits(self, clips: Tensor) -> Tensor:
        """Class scores of every segment of clips (see ``forward``): (N, T, num_classes)."""
        maps = self.features(clips)
        # The mean's gradient would be contiguous; that of a pool lies in memory as the maps do.
        pooled = F.avg_pool2d(maps, maps.shape[2:]).flatten(1)
        logits = self.classifier(self.dropout(pooled))
        return logits.view(-1, self.num_segments, self.num_classes)

    def features(self, clips: Tensor) -> Tensor:
        """The last stage's feature maps for clips (see ``forward``): (N*T, C, H/32, W/32)."""
        self._check(clips)
        dtype = self._input_type(clips)
        if self.short_term is None:
            x = self.stage1(self.stem(centre_frames(clips, dtype)))
        else:
            centre, differences = short_term_stem(clips, dtype)
            first, second = self.short_term(differences)
            x = self.stem(centre)
            if self.temporal.fusions != "second":
                x = fusion(x, first, *self.fusion_weights)
            x = self.stage1(x)
            if second is not None:
                x = fusion(x, second, *self.fusion_weights)
        return self.stage4(self.stage3(self.stage2(x)))

    def _input_type(self, clips: Tensor) -> torch.dtype:
        """The type the first convs compute in: autocast's, or that of the weights."""
        device = clips.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return self.stem.conv.weight.dtype

    def _check(self, clips: Tensor) -> None:
        """Refuse clips of another shape or type than ``forward`` documents."""
        t, shape = self.num_segments, tuple(clips.shape)
        if clips.dtype == torch.uint8:
            fits = len(shape) == 6 and shape[1:3] == (t, FRAMES) and shape[5] == 3
            size = shape[3:5]
        else:
            fits = clips.is_floating_point() and len(shape) == 6
            fits = fits and shape[1:4] == (t, FRAMES, 3)
            size = shape[4:6]
        if not fits:
            raise UserError(
                f"clips are {clips.dtype} of shape {shape}; the network takes uint8 "
                f"(N, {t}, {FRAMES}, H, W, 3) or normalised floats (N, {t}, {FRAMES}, 3, H, W)"
            )
        if self.ideas.long_term and min(size) < SMALLEST_FRAME:
            raise UserError(
                f"clips of {size[0]}x{size[1]} pixels are too small for L-TDM; "
                f"make both sides at least {SMALLEST_FRAME} pixels"
            )
