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
