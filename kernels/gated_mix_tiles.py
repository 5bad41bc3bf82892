"""Tiles of the gated mix's passes: the widest loads that no register spills for.

Found by compiling for sm_80 and sm_90 (``python -m benchmarks.resources``) with Triton 3.9. With
half types, tensor cores multiply as tf32, which holds float16's 10 bits. float32 takes three tf32
products, or ordinary multiply-adds (ieee) where those leave more registers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tdn.kernels.backend import block
from tdn.kernels.layout import memory_format, tile_sides


@dataclass(frozen=True)
class Tiling:
    """How a pass is cut into programs, as launched."""

    pixels: int
    channels: int
    inner: int
    """Channels of s, at least 16: what tensor cores take."""
    warps: int
    precision: str
    """Of products, as Triton names it."""


# (channels of s at most, elements side by side in memory, elements across, warps, precision),
# by whether the layout is channels_last and whether the type is a half one
_Rows = tuple[tuple[int, int, int, int, str], ...]
_FORWARD: dict[tuple[bool, bool], _Rows] = {
    (True, True): ((128, 64, 32, 8, "tf32"),),
    (True, False): ((32, 64, 32, 8, "tf32x3"), (128, 64, 16, 8, "tf32x3")),
    (False, True): ((32, 64, 16, 8, "tf32"), (64, 32, 16, 8, "tf32"), (128, 16, 16, 8, "tf32")),
    (False, False): (
        (32, 64, 16, 8, "tf32x3"),
        (64, 32, 16, 8, "tf32x3"),
        (128, 16, 16, 8, "ieee"),
    ),
}
_FEATURES: dict[tuple[bool, bool], _Rows] = {
    (True, True): ((32, 64, 32, 8, "tf32"), (128, 64, 16, 8, "ieee")),
    (True, False): ((128, 64, 16, 8, "ieee"),),
    (False, True): ((16, 32, 32, 8, "tf32"), (128, 32, 16, 8, "tf32")),
    (False, False): ((128, 64, 16, 8, "ieee"),),
}
_MAPS: dict[tuple[bool, bool], _Rows] = {
    (True, True): ((16, 32, 32, 4, "tf32"), (128, 64, 16, 4, "tf32")),
    (True, False): ((32, 32, 32, 4, "ieee"), (64, 32, 32, 8, "ieee"), (128, 16, 16, 8, "ieee")),
    (False, True): ((16, 64, 32, 8, "tf32"), (64, 64, 16, 8, "tf32"), (128, 32, 16, 8, "tf32")),
    (False, False): ((128, 32, 32, 8, "ieee"),),
}


def forward_tiling(x: Tensor, inner: int) -> Tiling:
    """Of the forward pass on features x with ``inner`` channels of s."""
    return _chosen(_FORWARD, x, inner)


def features_tiling(x: Tensor, inner: int) -> Tiling:
    """Of the backward pass over clips, whose sums fill the registers."""
    return _chosen(_FEATURES, x, inner)


def maps_tiling(x: Tensor, inner: int) -> Tiling:
    """Of the backward pass over positions."""
    return _chosen(_MAPS, x, inner)


def inner_tile(inner: int) -> int:
    """Channels of s in a tile: all of them."""
    return max(16, block(inner, 2 * inner))


def summed_part(x: Tensor, inner: int) -> int:
    """Channels of s whose sums M a program of the pass over clips has registers for."""
    tile_r = inner_tile(inner)
    all_at_once = tile_r <= 32 and memory_format(x) == torch.channels_last
    return tile_r if all_at_once else 16


def _chosen(table: dict[tuple[bool, bool], _Rows], x: Tensor, inner: int) -> Tiling:
    tile_r = inner_tile(inner)
    rows = table[memory_format(x) == torch.channels_last, x.dtype != torch.float32]
    fitting = [row for row in rows if tile_r <= row[0]]
    _, along, across, warps, precision = fitting[0] if fitting else rows[-1]
    return Tiling(*tile_sides(x, along, across), tile_r, warps, precision)
