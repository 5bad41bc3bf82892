"""Moments of maps: what a batch norm takes from a batch, for one or two maps in one pass.

For every map, direction and channel, over the P positions of that direction:

    mean = sum of x / P,    biased variance = sum of (x - mean)^2 / P,
    unbiased variance = sum of (x - mean)^2 / (P - 1)

The batch norm normalises by the biased variance; its running statistics take the unbiased one.
No sum of squares is ever about zero: each value of a tile follows its own mean as the tiles pass
(Welford), values join in a program, and programs in a second launch, by the formula of Chan et
al. (1983) for parts of n_i values with mean m_i and sum of squares M_i about it:

    m = sum of n_i m_i / n,    M = sum of M_i + n_i (m_i - m)^2
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv, launch, uses_triton
from tdn.kernels.layout import as_laid
from tdn.kernels.map_tiles import (
    PROGRAMS,
    cut,
    layout_constants,
    power_of_two,
    tile_mask,
    tile_offsets,
    tile_positions,
)

ELEMENTS = 4096
"""Of a tile: 32 a thread, so that enough bytes are under way."""
COLUMNS = 8
"""Channels of a tile of partial results: 16 values of each kind a thread."""


def moments(maps: Sequence[Tensor], directions: int) -> Tensor:
    """Mean and variances of maps, each direction by itself; not differentiable.

    Args:
        maps: one or two tensors (directions * M, R, h, w) of the same M, R and type; h and w may
            differ.
        directions: number of parts along the first dimension.

    Returns:
        (len(maps), 3, directions, R), float32 (float64 of float64 maps): mean, biased variance and
        unbiased variance.
    """
    maps = [v.detach() for v in maps]
    return _moments(maps, directions) if uses_triton(maps[0]) else reference(maps, directions)


def reference(maps: Sequence[Tensor], directions: int) -> Tensor:
    """What ``moments`` computes, in eager PyTorch."""
    rows = []
    for x in maps:
        x = x.unflatten(0, (directions, -1)).to(torch.promote_types(x.dtype, torch.float32))
        unbiased, mean = torch.var_mean(x, (1, 3, 4))
        rows.append(torch.stack((mean, x.var((1, 3, 4), correction=0), unbiased)))
    return torch.stack(rows)


@torch.library.custom_op("tdn::moments", mutates_args=())
def _moments(maps: Sequence[Tensor], directions: int) -> Tensor:
    maps = [as_laid(v, maps[0]) for v in maps]
    images, channels = maps[0].shape[0] // directions, maps[0].shape[1]
    sizes = [v.shape[2] * v.shape[3] for v in maps]
    cuts = [cut(images, pixels, channels, ELEMENTS, PROGRAMS) for pixels in sizes]
    steps = max(v.steps for v in cuts)
    counts = [cdiv(v.steps * v.programs, steps) for v in cuts]
    programs = sum(counts)
    device = maps[0].device
    partials = torch.empty((directions, programs, 3, channels), dtype=torch.float32, device=device)
    out = torch.empty((len(maps), 3, directions, channels), dtype=torch.float32, device=device)
    launch(
        _partials_kernel,
        (programs, directions),
        *(maps[0], maps[-1], partials, images, sizes[0], sizes[-1], counts[0]),
        FIRST_M=cuts[0].images,
        FIRST_P=cuts[0].pixels,
        SECOND_M=cuts[-1].images,
        SECOND_P=cuts[-1].pixels,
        TILE_R=cuts[0].channels,
        STEPS=steps,
        **layout_constants(maps[0]),
    )
    columns = block(channels, COLUMNS)
    launch(
        _combine_kernel,
        (len(maps), directions, cdiv(channels, columns)),
        *(partials, out, programs, counts[0], channels),
        TILE_S=power_of_two(max(counts)),
        TILE_R=columns,
        num_warps=8,
    )
    return out


@_moments.register_fake
def _(maps: Sequence[Tensor], directions: int) -> Tensor:
    shape = (len(maps), 3, directions, maps[0].shape[1])
    return maps[0].new_empty(shape, dtype=torch.float32)


@triton.jit
def _partials_kernel(
    first,
    second,
    partials,
    images,
    first_pixels,
    second_pixels,
    first_programs,
    FIRST_M: tl.constexpr,
    FIRST_P: tl.constexpr,
    SECOND_M: tl.constexpr,
    SECOND_P: tl.constexpr,
    TILE_R: tl.constexpr,
    STEPS: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
):
    """The first programs of a direction take the first map, the others the second."""
    program = tl.program_id(0)
    direction = tl.program_id(1)
    row = partials + (direction * tl.num_programs(0) + program) * 3 * R
    before = direction * images
    if program < first_programs:
        start = program * STEPS
        _partial(
            first,
            row,
            start,
            before,
            images,
            first_pixels,
            FIRST_M,
            FIRST_P,
            TILE_R,
            STEPS,
            R,
            AXIS,
        )
    else:
        start = (program - first_programs) * STEPS
        _partial(
            second,
            row,
            start,
            before,
            images,
            second_pixels,
            SECOND_M,
            SECOND_P,
            TILE_R,
            STEPS,
            R,
            AXIS,
        )


@triton.jit
def _partial(
    x,
    row,
    start,
    before,
    images,
    pixels,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
    STEPS: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
):
    """Number, mean and sum of squares about the mean of a program's tiles, for every channel.

    All is relative to the program's first position: equal values have no variance then, however
    large they are.
    """
    channel = tl.arange(0, TILE_R)
    blocks = tl.cdiv(pixels, TILE_P)
    first_image = tl.arange(0, 1) + before + start // blocks * TILE_M
    first_pixel = tl.arange(0, 1) + start % blocks * TILE_P
    at_first = tile_offsets(first_image, first_pixel, channel, pixels, R, AXIS)
    in_r = tl.expand_dims(channel < R, AXIS)
    pivot = tl.load(x + at_first, mask=in_r, other=0).to(tl.float32)

    count = tl.zeros((TILE_M * TILE_P,), tl.float32)
    mean = tl.expand_dims(count, 1 - AXIS) + tl.zeros_like(pivot)
    squares = mean
    for step in range(STEPS):
        image, pixel, inside = tile_positions(start + step, images, pixels, TILE_M, TILE_P)
        mask = tile_mask(inside, channel, R, AXIS)
        at = tile_offsets(image + before, pixel, channel, pixels, R, AXIS)
        value = tl.load(x + at, mask=mask, other=0).to(tl.float32) - pivot
        count += inside.to(tl.float32)
        delta = tl.where(mask, value - mean, 0)
        mean += delta * tl.expand_dims(1 / tl.maximum(count, 1), 1 - AXIS)
        squares += delta * (value - mean)

    weight = tl.expand_dims(count, 1 - AXIS)
    total = tl.sum(count, axis=0)
    average = tl.expand_dims(tl.sum(weight * mean, axis=AXIS) / total, AXIS)
    deviation = mean - average
    sum_of_squares = tl.sum(squares + weight * deviation * deviation, axis=AXIS)
    out = row + tl.expand_dims(channel, AXIS)
    tl.store(out, tl.zeros_like(average) + total, mask=in_r)
    tl.store(out + R, pivot + average, mask=in_r)
    tl.store(row + 2 * R + channel, sum_of_squares, mask=channel < R)


@triton.jit
def _combine_kernel(
    partials,
    out,
    programs,
    first_programs,
    channels,
    TILE_S: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """Moments of a block of channels of one map and direction, from those of its programs."""
    which = tl.program_id(0)
    direction = tl.program_id(1)
    channel = tl.program_id(2) * TILE_R + tl.arange(0, TILE_R)
    inside = channel < channels
    start = partials + (direction * programs + which * first_programs) * 3 * channels + channel
    pivot = tl.load(start + channels, mask=inside, other=0)[None, :]
    program = tl.arange(0, TILE_S)
    present = program < tl.where(which == 0, first_programs, programs - first_programs)
    mask = present[:, None] & inside[None, :]
    at = start[None, :] + program[:, None] * 3 * channels
    count = tl.load(at, mask=mask, other=0)
    mean = tl.where(mask, tl.load(at + channels, mask=mask, other=0) - pivot, 0)
    squares = tl.load(at + 2 * channels, mask=mask, other=0)
    total = tl.sum(count, axis=0)
    average = tl.sum(count * mean, axis=0) / tl.maximum(total, 1)
    deviation = mean - average[None, :]
    squares = tl.sum(squares + count * deviation * deviation, axis=0)
    directions = tl.num_programs(1)
    row = out + (which * 3 * directions + direction) * channels + channel
    tl.store(row, tl.sum(pivot, axis=0) + average, mask=inside)
    tl.store(row + directions * channels, squares / tl.maximum(total, 1), mask=inside)
    tl.store(row + 2 * directions * channels, squares / tl.maximum(total - 1, 1), mask=inside)
