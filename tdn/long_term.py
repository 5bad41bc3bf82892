"""Long-term TDM (L-TDM): motion between segments, inside a residual block (paper section 3.3).

On features x (N*T, C, H, W), with C/16 channels inside:

    f = BN(conv1x1 x),  g = depthwise 3x3 of f
    d = the differences of f to the g of the next and of the previous segment
    s = (d + half-resolution branch of d + full-resolution branch of d) / 3
    y = BN(conv1x1 s),  out = x + x * mean over both directions of (sigmoid(y) - 1/2)

Here in eager PyTorch; ``long_term_kernels`` has the same by Triton kernels, and blocks go there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.kernels.excitation import excitation
from tdn.kernels.long_term_difference import long_term_difference

REDUCTION = 16
"""Channels of the features over channels inside the module."""


class DirectionalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm shared by two directions, each normalised by its own batch statistics.

    A training step counts as two: the running statistics take in the first direction, then the
    second.
    """

    def forward(  # type: ignore[override]  # one tensor in, its two halves out
        self, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Normalise (2*M, C, H, W), the M images of one direction and then the M of the other.

        Returns:
            The two directions, each (M, C, H, W).
        """
        first, second = x.unflatten(0, (2, -1))  # chunk would need the number of images
        return super().forward(first), super().forward(second)


class LongTermTDM(nn.Module):
    """Excites features where they differ between neighbouring segments.

    Args:
        channels: C.
        num_segments: T.
    """

    def __init__(self, channels: int, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        inner = max(1, channels // REDUCTION)
        self.reduce = nn.Conv2d(channels, inner, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(inner)
        self.smooth = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.expand = nn.Conv2d(inner, channels, 1, bias=False)
        self.expand_norm = DirectionalBatchNorm2d(channels)
        self.half_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.half_norm = DirectionalBatchNorm2d(inner)
        self.full_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.full_norm = DirectionalBatchNorm2d(inner)

    def forward(self, x: Tensor) -> Tensor:
        """Excite features (N*T, C, H, W), H and W at least 2."""
        f = self.reduce_norm(self.reduce(x))
        d = long_term_difference(f, self.smooth(f), self.num_segments)
        half = torch.cat(self.half_norm(self.half_conv(F.avg_pool2d(d, 2))))
        full = torch.cat(self.full_norm(self.full_conv(d)))
        s = (d + F.interpolate(half, size=d.shape[2:], mode="nearest") + full) / 3
        return excitation(x, *self.expand_norm(self.expand(s)))
