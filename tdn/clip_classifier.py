"""From clips to logits, whatever the backbone.

    clips -> short-term stem -> centre frames -> stem ---(+)-> stage 1 -(+)-> stages 2, 3, 4 -> head
                             -> differences -> S-TDM ----/-------------/

The head pools, drops out and classifies every segment; a clip's logits are the mean over its
segments (paper section 3.4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.kernels.fusion import fusion
from tdn.kernels.short_term_stem import FRAMES, centre_frames, short_term_stem
from tdn.model_rules import Ideas, published_fusion_weights
from tdn.resnet import TemporalModules

SMALLEST_FRAME = 33
"""Pixels; below, the last stage's maps are 1x1 and L-TDM's half-resolution branch is empty."""


class ClipClassifier(nn.Module):
    """What all networks have in common; the parts are made by the subclasses.

    Args:
        ideas: what the network has beyond its backbone.
        temporal: details of the temporal modules that it has.
        num_segments: T.
        num_classes: number of classes.
    """

    stem: nn.Module
    """From normalised images to the input of stage 1."""
    short_term: nn.Module | None
    """S-TDM: from frame differences to its first and second features."""
    stage1: nn.Module
    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module
    dropout: nn.Dropout
    classifier: nn.Linear

    def __init__(
        self, ideas: Ideas, temporal: TemporalConfig, num_segments: int, num_classes: int
    ) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.num_classes = num_classes
        self.ideas = ideas
        self.temporal = temporal
        self.partial_bn = False
        self.fusion_weights = temporal.fusion_weights or published_fusion_weights(num_segments)

    def carried(self, stage: int) -> TemporalModules:
        """The temporal modules in the blocks of stage 1, 2, 3 or 4."""
        long_term = self.ideas.long_term and stage in self.temporal.stages
        temporal_conv = self.ideas.temporal_conv and stage > 1
        return TemporalModules(self.num_segments, long_term, temporal_conv, self.temporal)

    def freeze_batch_norms(self) -> None:
        """Train no batch norm but the first, from now on: partial BN, for small batches.

        The others normalise by their running statistics, and their weights and biases take no
        gradients.
        """
        self.partial_bn = True
        for norm in self._norms()[1:]:
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ClipClassifier:
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
        return self.classifier.weight.dtype

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
