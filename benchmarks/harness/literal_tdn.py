"""TDN written down word by word, slowly, under the released code's names: a second opinion.

Two calls for the two directions, padded tensors, permuted convs over time, a float batch with
15 channels a segment: none of what makes the product's network fast is in here. Its state dict
is that of a released checkpoint, dead conv included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Excitation(nn.Module):
    """Long-term TDM."""

    def __init__(self, channels: int, t: int) -> None:
        super().__init__()
        r = max(1, channels // 16)
        self.t = t
        self.conv1 = nn.Conv2d(channels, r, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(r)
        self.conv2 = nn.Conv2d(r, r, 3, padding=1, groups=r, bias=False)
        self.conv3 = nn.Conv2d(r, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3_smallscale2 = nn.Conv2d(r, r, 3, padding=1, bias=False)
        self.bn3_smallscale2 = nn.BatchNorm2d(r)
        self.conv3_smallscale4 = nn.Conv2d(r, r, 3, padding=1, bias=False)
        self.bn3_smallscale4 = nn.BatchNorm2d(r)

    def gate(self, d: Tensor) -> Tensor:
        """Of one direction, from its differences."""
        small = self.bn3_smallscale2(self.conv3_smallscale2(F.avg_pool2d(d, 2, stride=2)))
        small = F.interpolate(small, d.shape[2:])
        full = self.bn3_smallscale4(self.conv3_smallscale4(d))
        y = self.bn3(self.conv3(d / 3 + small / 3 + full / 3))
        return torch.sigmoid(y) - 0.5

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) features, weighed by what moves."""
        f = self.bn1(self.conv1(x))
        g = self.conv2(f)
        f, g = (v.view(-1, self.t, *v.shape[1:]) for v in (f, g))
        zero = torch.zeros_like(f[:, :1])
        ahead = torch.cat([g[:, 1:] - f[:, :-1], zero], dim=1).flatten(0, 1)
        back = torch.cat([zero, g[:, :-1] - f[:, 1:]], dim=1).flatten(0, 1)
        gate_ahead = self.gate(ahead)
        gate_back = self.gate(back)
        return x + x * (0.5 * gate_ahead + 0.5 * gate_back)


class Shift(nn.Module):
    """Temporal conv."""

    def __init__(self, channels: int, t: int) -> None:
        super().__init__()
        self.t = t
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W), mixed over the segments of a clip."""
        nt, c, h, w = x.shape
        x = x.view(-1, self.t, c, h, w).permute(0, 3, 4, 2, 1).contiguous().view(-1, c, self.t)
        x = self.conv(x).view(-1, h, w, c, self.t)
        return x.permute(0, 4, 3, 1, 2).contiguous().view(nt, c, h, w)


class Block(nn.Module):
    """Residual block; kernels are those of its two or three convs."""

    def __init__(
        self, inputs: int, width: int, stride: int, bottleneck: bool, t: int | None
    ) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        self.conv1 = (
            nn.Conv2d(inputs, width, 1)
            if bottleneck
            else nn.Conv2d(inputs, width, 3, stride=stride, padding=1)
        )
        self.bn1 = nn.BatchNorm2d(width)
        if t is not None:
            self.mse = Excitation(width, t)
            self.shift = Shift(width, t)
        second = stride if bottleneck else 1
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        if bottleneck:
            self.conv3 = nn.Conv2d(width, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
        self.temporal = t is not None
        self.bottleneck = bottleneck

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) to the next block's."""
        out = F.relu(self.bn1(self.conv1(x)))
        if self.temporal:
            out = self.shift(self.mse(out))
        out = self.bn2(self.conv2(out))
        if self.bottleneck:
            out = self.bn3(self.conv3(F.relu(out)))
        residual = x if self.downsample is None else self.downsample(x)
        return F.relu(out + residual)


class Backbone(nn.Module):
    """All but the classifier."""

    def __init__(self, depths: tuple[int, ...], bottleneck: bool, width: int, t: int) -> None:
        super().__init__()
        self.a, self.b = (0.5, 0.5) if t == 8 else (0.75, 0.25)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1_temp = nn.Conv2d(3, width, 7, stride=2, padding=3)
        self.conv1_5 = nn.Sequential(
            nn.Conv2d(12, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width)
        )

        def stage(index: int, temporal: bool) -> nn.Sequential:
            expansion = 4 if bottleneck else 1
            inner = width * 2**index
            inputs = inner // 2 * expansion if index else width
            blocks = []
            for number in range(depths[index]):
                stride = 2 if index and number == 0 else 1
                blocks.append(Block(inputs, inner, stride, bottleneck, t if temporal else None))
                inputs = inner * expansion
            return nn.Sequential(*blocks)

        self.resnext_layer1 = stage(0, temporal=False)
        self.layer1_bak = stage(0, temporal=False)
        self.layer2_bak = stage(1, temporal=True)
        self.layer3_bak = stage(2, temporal=True)
        self.layer4_bak = stage(3, temporal=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, 15, H, W), a segment's frames one after the other, to (N*T, features)."""
        x1, x2, x3, x4, x5 = x.split(3, dim=1)
        d = F.avg_pool2d(torch.cat([x2 - x1, x3 - x2, x4 - x3, x5 - x4], dim=1), 2, stride=2)
        d1 = F.max_pool2d(F.relu(self.conv1_5(d)), 3, stride=2, padding=1)
        d2 = self.resnext_layer1(d1)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x3))), 3, stride=2, padding=1)
        x = self.a * x + self.b * F.interpolate(d1, x.shape[2:])
        x = self.layer1_bak(x)
        x = self.a * x + self.b * F.interpolate(d2, x.shape[2:])
        x = self.layer4_bak(self.layer3_bak(self.layer2_bak(x)))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class LiteralTDN(nn.Module):
    """From (N, T*15, H, W), channel = segment*15 + frame*3 + colour, to logits (N, classes)."""

    def __init__(
        self, depths: tuple[int, ...], bottleneck: bool, width: int, t: int, classes: int
    ) -> None:
        super().__init__()
        self.t = t
        self.base_model = Backbone(depths, bottleneck, width, t)
        self.new_fc = nn.Linear(8 * width * (4 if bottleneck else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T*15, H, W), normalised, to (N, classes)."""
        scores = self.new_fc(self.base_model(x.view(-1, 15, *x.shape[2:])))
        return scores.view(-1, self.t, scores.shape[1]).mean(dim=1)
