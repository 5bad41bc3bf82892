"""The 3x3 conv of a residual block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tdn.kernels.layout import memory_format

MANY = 1 << 20
"""Weights; the convs of a ResNet's last stage have more than twice as many, others half."""


class Conv3x3(nn.Conv2d):
    """A 3x3 conv, padded.

    On a CPU, one of many weights keeps them contiguous in a network in channels_last, too, and
    computes so. oneDNN writes their gradient contiguously, and the maps of the last stage are
    small: to lay out the gradient anew takes longer than to lay out the maps.

    Args:
        in_channels: of the input.
        channels: of the output.
        stride: of both directions.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (M, in_channels, H, W) to (M, channels, H/stride, W/stride), laid out alike."""
        if not self._stays_contiguous or memory_format(x) == torch.contiguous_format:
            return super().forward(x)
        out = super().forward(_Contiguous.apply(x))
        return out.contiguous(memory_format=torch.channels_last)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Conv3x3:
        """What ``to`` and the like do to the tensors."""
        super()._apply(fn, recurse)
        if self._stays_contiguous:
            self.weight.data = self.weight.data.contiguous()
        return self

    @property
    def _stays_contiguous(self) -> bool:
        return self.weight.device.type == "cpu" and self.weight.numel() > MANY


class _Contiguous(torch.autograd.Function):
    """From channels_last to contiguous; plain autograd would not lay out the gradient as it was."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.contiguous()

    @staticmethod
    @once_differentiable
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad.contiguous(memory_format=torch.channels_last)
