"""The ResNet of TDN: stem, residual blocks and stages.

A block may carry an L-TDM and a temporal conv between its first conv and its second. All convs
have biases, as in the published checkpoints, and a bottleneck's stride is on its 3x3 conv.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional as F

from tdn.ablations import make_long_term_tdm
from tdn.config import TemporalConfig
from tdn.conv3x3 import Conv3x3
from tdn.long_term_kernels import mix_over_time
from tdn.temporal_conv import TemporalConv


@dataclass(frozen=True)
class TemporalModules:
    """What the blocks of a stage carry besides a ResNet's convs."""

    num_segments: int
    """Segments per clip, T."""
    long_term: bool = False
    """A long-term TDM after the first conv."""
    temporal_conv: bool = False
    """A temporal conv after that."""
    details: TemporalConfig = field(default_factory=TemporalConfig)
    """What the L-TDM consists of."""

    def build_long_term(self, channels: int) -> nn.Module:
        """An L-TDM for features of that many channels, or nothing."""
        if not self.long_term:
            return nn.Identity()
        return make_long_term_tdm(channels, self.num_segments, self.details)

    def build_temporal_conv(self, channels: int) -> nn.Module:
        """A temporal conv for features of that many channels, or nothing."""
        return TemporalConv(channels, self.num_segments) if self.temporal_conv else nn.Identity()


class Stem(nn.Module):
    """Conv 7x7/2, BN, ReLU and max pool: images (M, 3, H, W) to (M, channels, H/4, W/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 7, stride=2, padding=3)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features of normalised images."""
        x = self.norm(self.conv(x))
        # ReLU is monotonic: after the pool it gives the same with a quarter of the work.
        return F.relu(F.max_pool2d(x, 3, stride=2, padding=1), inplace=True)


class BasicBlock(nn.Module):
    """Two 3x3 convs around a shortcut; the stride is on the first.

    Args:
        in_channels: channels of the input.
        channels: channels inside; times ``expansion``, those of the output.
        stride: of the block.
        temporal: the temporal modules it carries.
    """

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int, temporal: TemporalModules
    ) -> None:
        super().__init__()
        self.conv1 = Conv3x3(in_channels, channels, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.long_term = temporal.build_long_term(channels)
        self.temporal_conv = temporal.build_temporal_conv(channels)
        self.conv2 = Conv3x3(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N*T, in_channels, H, W) to (N*T, channels, H/stride, W/stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = mix_over_time(self.long_term, self.temporal_conv, out)
        out = self.norm2(self.conv2(out))
        return F.relu(out.add_(self.shortcut(x)), inplace=True)


class Bottleneck(nn.Module):
    """Convs 1x1, 3x3 and 1x1 around a shortcut; the stride is on the 3x3.

    Args:
        in_channels: channels of the input.
        channels: channels inside; times ``expansion``, those of the output.
        stride: of the block.
        temporal: the temporal modules it carries, before the stride.
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int, temporal: TemporalModules
    ) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.long_term = temporal.build_long_term(channels)
        self.temporal_conv = temporal.build_temporal_conv(channels)
        self.conv2 = Conv3x3(channels, channels, stride)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N*T, in_channels, H, W) to (N*T, 4 * channels, H/stride, W/stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = mix_over_time(self.long_term, self.temporal_conv, out)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(out))
        return F.relu(out.add_(self.shortcut(x)), inplace=True)


Block = type[BasicBlock] | type[Bottleneck]


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity, or the 1x1 conv that a change of shape needs."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))


def make_stage(
    block: Block,
    in_channels: int,
    channels: int,
    depth: int,
    stride: int,
    temporal: TemporalModules,
) -> nn.Sequential:
    """``depth`` blocks, the first of which takes the input's channels and the stride."""
    first = block(in_channels, channels, stride, temporal)
    width = channels * block.expansion
    return nn.Sequential(first, *(block(width, channels, 1, temporal) for _ in range(depth - 1)))
