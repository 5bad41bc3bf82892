"""Gradients of the sum of the branches.

With S that of s, which is that of d too, i = 1 / sqrt(variance + eps), xhat = (x - mean) i for
half and full, and by direction and channel:

    window[y, x] = sum of S over the pixels that half[y, x] is repeated to
    dbias = sum of S                      of either norm, as every pixel is in one window
    dfull_weight = sum of S * fullhat,    dhalf_weight = sum of window * halfhat
    dfull = weight_full * i * (S - (dbias + fullhat * dfull_weight) / P)
    dhalf = weight_half * i * (window - (dbias + halfhat * dhalf_weight) / p)

with P and p the positions of full and half in a direction; the sums over P and p fall away where
the statistics are constants. Parameters serve both directions and add up.

A window of an even size is 2i, 2i+1. Of an odd size it is 2i+1, 2i+2, and 0 joins the first one:
so windows have three rows, 2i to 2i+2, and the first counts in the first window only.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv, launch
from tdn.kernels.layout import as_laid
from tdn.kernels.map_tiles import (
    PROGRAMS,
    by_channel,
    cut,
    layout_constants,
    new_maps,
    power_of_two,
    store_sum,
    tile_mask,
    tile_offsets,
    tile_positions,
)
from tdn.kernels.numerics import rounded

ELEMENTS = 1024
"""Of a tile: 8 a thread, 16 bytes of float16, of each pixel of a window."""
COLUMNS = 8
"""Channels of a tile of partial sums."""


@torch.library.custom_op("tdn::branch_sum_backward", mutates_args=())
def backward_pass(
    ds: Tensor,
    half: Tensor,
    full: Tensor,
    half_mean: Tensor,
    half_variance: Tensor,
    half_weight: Tensor,
    half_bias: Tensor,
    half_eps: float,
    full_mean: Tensor,
    full_variance: Tensor,
    full_weight: Tensor,
    full_bias: Tensor,
    full_eps: float,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of half and full, then weight and bias of half's norm and of full's."""
    full = as_laid(full, full)
    half, ds = as_laid(half, full), as_laid(ds, full)
    images, channels, height, width = full.shape
    images //= 2
    parameters = (half_weight, half_bias, full_weight, full_bias)
    dhalf, dfull = torch.empty_like(half), torch.empty_like(full)
    dhalf_weight, dhalf_bias, dfull_weight, dfull_bias = (torch.empty_like(v) for v in parameters)
    maps = (ds, half, full)
    half_statistics = (half_mean.contiguous(), half_variance.contiguous())
    full_statistics = (full_mean.contiguous(), full_variance.contiguous())
    sizes = (images, height, width, half_eps, full_eps)
    tiles = cut(images, (height // 2) * (width // 2), channels, ELEMENTS, PROGRAMS)
    constants = {
        "ROWS": 2 + height % 2,
        "COLUMNS": 2 + width % 2,
        **statistics_rows(half_mean, full_mean, channels),
        **tiles.constants,
        **layout_constants(full),
    }
    columns = block(channels, COLUMNS)
    partials = torch.empty(
        (2, tiles.programs, 3, channels), dtype=torch.float32, device=full.device
    )
    sums = torch.empty((2, 3, channels), dtype=torch.float32, device=full.device)
    launch(
        _sums_kernel,
        (tiles.programs, 2),
        *(*maps, *half_statistics, *full_statistics, partials, *sizes),
        STEPS=tiles.steps,
        **constants,
    )
    launch(
        _totals_kernel,
        (3, cdiv(channels, columns)),
        *(partials, sums, dhalf_weight, dhalf_bias, dfull_weight, dfull_bias),
        *(tiles.programs, channels),
        TILE_S=power_of_two(tiles.programs),
        TILE_R=columns,
    )
    launch(
        _branches_kernel,
        (tiles.programs * tiles.steps, 2),
        *(*maps, *half_statistics, half_weight, *full_statistics, full_weight, sums),
        *(dhalf, dfull, *sizes),
        BATCH=batch_statistics,
        **constants,
    )
    return dhalf, dfull, dhalf_weight, dhalf_bias, dfull_weight, dfull_bias


@backward_pass.register_fake
def _(ds: Tensor, half: Tensor, full: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    maps = (new_maps(full, v.shape[0], *v.shape[2:]) for v in (half, full))
    return (*maps, *(torch.empty_like(rest[index]) for index in (2, 3, 7, 8)))


def statistics_rows(half_mean: Tensor, full_mean: Tensor, channels: int) -> dict[str, int]:
    """Compile-time arguments: elements from a direction's statistics to the other's."""
    return {
        name: channels if mean.numel() > channels else 0
        for name, mean in (("HALF_ROW", half_mean), ("FULL_ROW", full_mean))
    }


@triton.jit
def _window(
    inside, y, x, k: tl.constexpr, m: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Which windows (y, x) have row k and column m."""
    if ROWS == 3 and k == 0:
        inside &= y == 0
    if COLUMNS == 3 and m == 0:
        inside &= x == 0
    return inside


@triton.jit
def _sums_kernel(
    ds,
    half,
    full,
    half_mean,
    half_variance,
    full_mean,
    full_variance,
    partials,
    images,
    height,
    width,
    half_eps,
    full_eps,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HALF_ROW: tl.constexpr,
    FULL_ROW: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """A program's sums of S, S * fullhat and window * halfhat."""
    direction = tl.program_id(1)
    channel = tl.arange(0, TILE_R)
    rows, columns = height // 2, width // 2
    half_centre = by_channel(half_mean + direction * HALF_ROW, channel, R, AXIS)
    full_centre = by_channel(full_mean + direction * FULL_ROW, channel, R, AXIS)
    zero = tl.expand_dims(tl.zeros((TILE_M * TILE_P,), tl.float32), 1 - AXIS) + half_centre * 0
    total, of_full, of_half = zero, zero, zero
    for step in range(STEPS):
        tile = tl.program_id(0) * STEPS + step
        image, cell, inside = tile_positions(tile, images, rows * columns, TILE_M, TILE_P)
        image += direction * images
        y, x = cell // columns, cell % columns
        window = zero
        for k in tl.static_range(ROWS):
            for m in tl.static_range(COLUMNS):
                there = _window(inside, y, x, k, m, ROWS, COLUMNS)
                mask = tile_mask(there, channel, R, AXIS)
                pixel = (2 * y + k) * width + 2 * x + m
                at = tile_offsets(image, pixel, channel, height * width, R, AXIS)
                grad = tl.load(ds + at, mask=mask, other=0).to(tl.float32)
                value = tl.load(full + at, mask=mask, other=0).to(tl.float32)
                window += grad
                of_full += grad * (value - full_centre)
        at = tile_offsets(image, cell, channel, rows * columns, R, AXIS)
        mask = tile_mask(inside, channel, R, AXIS)
        value = tl.load(half + at, mask=mask, other=0).to(tl.float32)
        of_half += window * (value - half_centre)
        total += window
    scale = tl.rsqrt(by_channel(full_variance + direction * FULL_ROW, channel, R, AXIS) + full_eps)
    of_full *= scale
    scale = tl.rsqrt(by_channel(half_variance + direction * HALF_ROW, channel, R, AXIS) + half_eps)
    of_half *= scale
    row = partials + (direction * tl.num_programs(0) + tl.program_id(0)) * 3 * R
    store_sum(row, total, channel, R, AXIS)
    store_sum(row + R, of_full, channel, R, AXIS)
    store_sum(row + 2 * R, of_half, channel, R, AXIS)


@triton.jit
def _totals_kernel(
    partials,
    sums,
    dhalf_weight,
    dhalf_bias,
    dfull_weight,
    dfull_bias,
    programs,
    channels,
    TILE_S: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """One of the three sums for a block of channels: by direction, and added up."""
    which = tl.program_id(0)
    channel = tl.program_id(1) * TILE_R + tl.arange(0, TILE_R)
    program = tl.arange(0, TILE_S)
    inside = channel < channels
    mask = (program < programs)[:, None] & inside[None, :]
    total = tl.zeros((TILE_R,), tl.float32)
    for direction in tl.static_range(2):
        row = ((direction * programs + program) * 3 + which) * channels
        values = tl.load(partials + row[:, None] + channel[None, :], mask=mask, other=0)
        values = tl.sum(values, axis=0)
        tl.store(sums + (direction * 3 + which) * channels + channel, values, mask=inside)
        total += values
    if which == 0:
        tl.store(dhalf_bias + channel, rounded(total, dhalf_bias.dtype.element_ty), mask=inside)
        tl.store(dfull_bias + channel, rounded(total, dfull_bias.dtype.element_ty), mask=inside)
    elif which == 1:
        tl.store(dfull_weight + channel, rounded(total, dfull_weight.dtype.element_ty), mask=inside)
    else:
        tl.store(dhalf_weight + channel, rounded(total, dhalf_weight.dtype.element_ty), mask=inside)


@triton.jit
def _branches_kernel(
    ds,
    half,
    full,
    half_mean,
    half_variance,
    half_weight,
    full_mean,
    full_variance,
    full_weight,
    sums,
    dhalf,
    dfull,
    images,
    height,
    width,
    half_eps,
    full_eps,
    BATCH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HALF_ROW: tl.constexpr,
    FULL_ROW: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """dhalf of a tile, and dfull of its windows."""
    direction = tl.program_id(1)
    channel = tl.arange(0, TILE_R)
    rows, columns = height // 2, width // 2
    pixels, cells = height * width, rows * columns
    half_centre = by_channel(half_mean + direction * HALF_ROW, channel, R, AXIS)
    half_inverse = by_channel(half_variance + direction * HALF_ROW, channel, R, AXIS)
    half_inverse = tl.rsqrt(half_inverse + half_eps)
    half_scale = half_inverse * by_channel(half_weight, channel, R, AXIS)
    full_centre = by_channel(full_mean + direction * FULL_ROW, channel, R, AXIS)
    full_inverse = by_channel(full_variance + direction * FULL_ROW, channel, R, AXIS)
    full_inverse = tl.rsqrt(full_inverse + full_eps)
    full_scale = full_inverse * by_channel(full_weight, channel, R, AXIS)
    row = sums + direction * 3 * R
    dbias = by_channel(row, channel, R, AXIS)
    full_share = 1 / (images * 1.0 * pixels)
    full_shift = dbias * full_share
    full_slope = by_channel(row + R, channel, R, AXIS) * full_share * full_inverse
    half_share = 1 / (images * 1.0 * cells)
    half_shift = dbias * half_share
    half_slope = by_channel(row + 2 * R, channel, R, AXIS) * half_share * half_inverse

    image, cell, inside = tile_positions(tl.program_id(0), images, cells, TILE_M, TILE_P)
    image += direction * images
    y, x = cell // columns, cell % columns
    window = tl.expand_dims(tl.zeros((TILE_M * TILE_P,), tl.float32), 1 - AXIS) + half_centre * 0
    for k in tl.static_range(ROWS):
        for m in tl.static_range(COLUMNS):
            there = _window(inside, y, x, k, m, ROWS, COLUMNS)
            mask = tile_mask(there, channel, R, AXIS)
            pixel = (2 * y + k) * width + 2 * x + m
            at = tile_offsets(image, pixel, channel, pixels, R, AXIS)
            grad = tl.load(ds + at, mask=mask, other=0).to(tl.float32)
            window += grad
            if BATCH:
                value = tl.load(full + at, mask=mask, other=0).to(tl.float32)
                grad -= full_shift + (value - full_centre) * full_slope
            tl.store(dfull + at, rounded(grad * full_scale, dfull.dtype.element_ty), mask=mask)
    mask = tile_mask(inside, channel, R, AXIS)
    at = tile_offsets(image, cell, channel, cells, R, AXIS)
    if BATCH:
        value = tl.load(half + at, mask=mask, other=0).to(tl.float32)
        window -= half_shift + (value - half_centre) * half_slope
    tl.store(dhalf + at, rounded(window * half_scale, dhalf.dtype.element_ty), mask=mask)
