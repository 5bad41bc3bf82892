"""The memory layout of image tensors, which every operation here hands on as it got it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block


def memory_format(x: Tensor) -> torch.memory_format:
    """``channels_last`` if the images x (N, C, H, W) lie that way in memory, else contiguous.

    A tensor that fits both, such as one of 1x1 maps, counts as contiguous.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return torch.channels_last
    return torch.contiguous_format


def as_laid(x: Tensor, model: Tensor) -> Tensor:
    """x (N, C, H, W), copied if it does not lie densely in the layout of ``model``.

    Gradients come as they like: that of a sum, for example, without any memory of its own.
    """
    return x.contiguous(memory_format=memory_format(model))


def tile_sides(x: Tensor, along: int, across: int) -> tuple[int, int]:
    """Pixels and channels of a tile of x (N, C, H, W): at most ``along`` what lies side by side.

    Tensor cores take 16 of each at least.
    """
    _, channels, height, width = x.shape
    tile_p, tile_c = (across, along) if memory_format(x) == torch.channels_last else (along, across)
    return max(16, block(height * width, tile_p)), max(16, block(channels, tile_c))


@triton.jit
def offsets(pixel, channel, pixels, CHANNELS: tl.constexpr, LAST: tl.constexpr):
    """Where pixels (P,) and channels (C,) of an image lie in memory: (P, C).

    The number of channels is a constant, as only then the compiler sees how much of a row of
    channels is there to be loaded at once.

    Args:
        pixel: numbers of pixels.
        channel: numbers of channels.
        pixels: H*W.
        CHANNELS: of the image.
        LAST: whether channels lie next to each other in memory, or pixels do.
    """
    if LAST:
        return pixel[:, None] * CHANNELS + channel[None, :]
    return pixel[:, None] + channel[None, :] * pixels
