"""Short-term TDM (S-TDM): motion within a segment, for the stem (paper section 3.2).

    four pooled frame differences -> conv 7x7/2 -> BN -> ReLU -> max pool: first features
    first features -> its own copy of the network's stage 1: second features

Both are fused into the features of the centre frame, the first after the stem, the second after
stage 1 (``tdn.kernels.fusion``).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tdn.kernels.short_term_stem import FRAMES


class ShortTermTDM(nn.Module):
    """Short-term features of two depths from frame differences.

    Args:
        channels: channels of the first features.
        stage: a ResNet stage 1 for this module alone; None if the second features are not used.
    """

    def __init__(self, channels: int, stage: nn.Module | None) -> None:
        super().__init__()
        in_channels = 3 * (FRAMES - 1)
        self.conv = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.stage = stage

    def forward(self, differences: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of ``kernels.short_term_stem.frame_differences`` (N*T, 12, H, W).

        Returns:
            The first features (N*T, channels, H/4, W/4), and the second (N*T, C, H/4, W/4) or
            None.
        """
        x = self.norm(self.conv(differences))
        # ReLU is monotonic: after the pool it gives the same with a quarter of the work.
        first = F.relu(F.max_pool2d(x, 3, stride=2, padding=1), inplace=True)
        return first, None if self.stage is None else self.stage(first)


def inflated(stem_weight: Tensor) -> Tensor:
    """Where the conv of S-TDM starts: the mean colour (C, 12, 7, 7) of a stem's (C, 3, 7, 7)."""
    return stem_weight.mean(dim=1, keepdim=True).expand(-1, 3 * (FRAMES - 1), -1, -1)
