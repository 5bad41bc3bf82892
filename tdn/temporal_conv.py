"""Temporal conv: each channel mixes a segment with its two neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdn.kernels.temporal_conv import temporal_conv

SHIFT_FRACTION = 8
"""One channel in this many starts as a shift forward in time, and one as a shift backward."""


class TemporalConv(nn.Module):
    """Learnable depthwise conv over the segments of a clip, which starts as a shift (TSM).

    Args:
        channels: C.
        num_segments: T.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.weight = nn.Parameter(torch.empty(channels, 1, 3))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The first C/8 channels take the next segment, as many the previous, the rest stay."""
        fold = self.weight.shape[0] // SHIFT_FRACTION
        self.weight.zero_()
        self.weight[:fold, 0, 2] = 1
        self.weight[fold : 2 * fold, 0, 0] = 1
        self.weight[2 * fold :, 0, 1] = 1

    def forward(self, x: Tensor) -> Tensor:
        """Mix features (N*T, C, H, W) over time."""
        return temporal_conv(x, self.weight, self.num_segments)
