"""Tiles of maps with few channels: how kernels cut maps (M, R, H, W) into the work of a program.

A tile is a block of positions, pixels of one image or of several whole ones, with all channels.
Its inner axis is the one along which the maps lie in memory: the channels in channels_last, the
positions otherwise, so that neighbouring threads touch neighbouring bytes in either layout. AXIS
is the axis of positions, 0 in channels_last and 1 else; R is known to the compiler, as the
address of a pixel with 8 channels of 16 bits is only known to be a multiple of 16 bytes then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv
from tdn.kernels.layout import memory_format

PROGRAMS = 512
"""Most programs of a direction that leave sums for one tile to add up; about four an SM."""


@dataclass(frozen=True)
class Tiles:
    """How the maps of a direction are cut."""

    images: int
    """Images of a tile; a power of two, as are pixels and channels."""
    pixels: int
    """Pixels of each."""
    channels: int
    """Channels, at least R."""
    steps: int
    """Tiles that a program takes, one after the other; a power of two."""
    programs: int

    @property
    def constants(self) -> dict[str, int]:
        """Compile-time arguments of a kernel that takes one tile a program."""
        return {"TILE_M": self.images, "TILE_P": self.pixels, "TILE_R": self.channels}


def cut(
    images: int,
    pixels: int,
    channels: int,
    elements: int,
    programs: int | None = None,
    least: int = 1,
) -> Tiles:
    """Cut maps into tiles.

    Args:
        images: M, of a direction.
        pixels: H*W, or the number of whatever else is counted in an image.
        channels: R.
        elements: size of a tile.
        programs: most programs; by default there is one for every tile.
        least: positions and channels of the smallest tile.
    """
    tile_r = max(least, power_of_two(channels))
    positions = block(images * power_of_two(pixels), max(1, elements // tile_r))
    positions = max(least, positions)
    tile_p = min(power_of_two(pixels), positions)
    tile_m = positions // tile_p
    count = cdiv(images, tile_m) * cdiv(pixels, tile_p)
    steps = 1 if programs is None else power_of_two(cdiv(count, programs))
    return Tiles(tile_m, tile_p, tile_r, steps, cdiv(count, steps))


def power_of_two(size: int) -> int:
    """The smallest power of two that is at least size."""
    return 1 << max(0, size - 1).bit_length()


def layout_constants(x: Tensor) -> dict[str, int]:
    """Compile-time arguments R and AXIS of kernels on maps that lie like x (M, R, H, W)."""
    return {"R": x.shape[1], "AXIS": 0 if memory_format(x) == torch.channels_last else 1}


def new_maps(model: Tensor, images: int, height: int, width: int) -> Tensor:
    """Uninitialised maps (images, R, height, width) in the type and layout of model."""
    return torch.empty(
        (images, model.shape[1], height, width),
        dtype=model.dtype,
        device=model.device,
        memory_format=memory_format(model),
    )


@triton.jit
def tile_positions(tile, images, pixels, TILE_M: tl.constexpr, TILE_P: tl.constexpr):
    """Image and pixel of the positions in a tile, and which of them there are."""
    blocks = tl.cdiv(pixels, TILE_P)
    position = tl.arange(0, TILE_M * TILE_P)
    image = tile // blocks * TILE_M + position // TILE_P
    pixel = tile % blocks * TILE_P + position % TILE_P
    return image, pixel, (image < images) & (pixel < pixels)


@triton.jit
def tile_offsets(image, pixel, channel, pixels, R: tl.constexpr, AXIS: tl.constexpr):
    """Elements from the start of maps of ``pixels`` pixels to a tile of values."""
    start = image.to(tl.int64) * (pixels * R)
    if AXIS == 0:
        positions, channels = start + pixel * R, channel
    else:
        positions, channels = start + pixel, channel * pixels
    return tl.expand_dims(positions, 1 - AXIS) + tl.expand_dims(channels, AXIS)


@triton.jit
def tile_mask(inside, channel, R: tl.constexpr, AXIS: tl.constexpr):
    """Which values of a tile there are: those of positions inside, and of R channels."""
    return tl.expand_dims(inside, 1 - AXIS) & tl.expand_dims(channel < R, AXIS)


@triton.jit
def by_channel(values, channel, R: tl.constexpr, AXIS: tl.constexpr, STRIDE: tl.constexpr = 1):
    """A value a channel, float32, in the shape of a tile with one position."""
    loaded = tl.load(values + channel * STRIDE, mask=channel < R, other=0).to(tl.float32)
    return tl.expand_dims(loaded, AXIS)


@triton.jit
def store_sum(out, values, channel, R: tl.constexpr, AXIS: tl.constexpr):
    """Store the sum of a tile over its positions, a value a channel."""
    tl.store(out + channel, tl.sum(values, axis=AXIS), mask=channel < R)
