"""The memory layout of image tensors, which every operation here hands on as it got it."""

from __future__ import annotations

import torch
from torch import Tensor


def memory_format(x: Tensor) -> torch.memory_format:
    """``channels_last`` if the images x (N, C, H, W) lie that way in memory, else contiguous.

    A tensor that fits both, such as one of 1x1 maps, counts as contiguous.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def strides(x: Tensor) -> tuple[int, int]:
    """Elements from a channel to the next, and from a pixel to the next, of x (N, C, H, W).

    x is dense and lies as ``memory_format`` says; from an image to the next it is C*H*W elements.
    """
    _, channels, height, width = x.shape
    if memory_format(x) == torch.channels_last:
        return 1, channels
    return height * width, 1


def as_laid(x: Tensor, model: Tensor) -> Tensor:
    """x (N, C, H, W), copied if it does not lie densely in the layout of ``model``.

    Gradients come as they like: that of a sum, for example, without any memory of its own.
    """
    return x.contiguous(memory_format=memory_format(model))
