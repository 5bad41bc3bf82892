"""Gradients of the long-term differences of maps, as Triton kernels.

With the notation of ``long_term_difference``, N and P the gradients of next and previous, a
quarter of their pooled ones' added and zero where the differences are, i = 1 / sqrt(variance +
eps), zhat = (z - mean) i, and count positions a channel:

    dg[t] = N[t-1] + P[t+1]
    df[t][p] = sum over k of w[k] dg[t][p - k]  -  N[t][p] - P[t][p]
    dw[k] = sum of f[p] dg[p - k],  dbias = sum of df,  dweight = sum of df * zhat
    dz = weight * i * (df - (dbias + zhat * dweight) / count)      with batch statistics
    dz = weight * i * df                                           with constants
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
"""Of a tile: 8 a thread, 16 bytes of float16; the nine sums of the smoothing conv allow no more."""
SUMS = 11
"""Rows of partial sums: dbias, dweight, and the nine of the smoothing conv."""
COLUMNS = 8
"""Channels of a tile of partial sums."""


@torch.library.custom_op("tdn::differences_of_maps_backward", mutates_args=())
def backward_pass(
    dd: Tensor,
    dpooled: Tensor,
    z: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    smooth: Tensor,
    num_segments: int,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of z, weight, bias and smooth."""
    z = as_laid(z, z)
    dd, dpooled = as_laid(dd, z), as_laid(dpooled, z)
    images, channels, height, width = z.shape
    dg = torch.empty_like(z, dtype=torch.float32)  # what is rounded here shows in all gradients
    df, dz = torch.empty_like(z), torch.empty_like(z)
    dweight, dbias = torch.empty_like(weight), torch.empty_like(bias)
    smooth = smooth.contiguous()
    dsmooth = torch.empty_like(smooth)
    tiles = cut(images, height * width, channels, ELEMENTS, PROGRAMS)
    constants = layout_constants(z) | tiles.constants
    sizes = (images, num_segments, height, width, eps)
    partials = torch.empty((tiles.programs, SUMS, channels), dtype=torch.float32, device=z.device)
    launch(
        _smoothed_gradient_kernel,
        (tiles.programs,),
        *(dd, dpooled, z, mean, variance, weight, bias, dg, partials, *sizes),
        STEPS=tiles.steps,
        **constants,
    )
    launch(
        _features_gradient_kernel,
        (tiles.programs,),
        *(dd, dpooled, dg, z, mean, variance, smooth, df, partials, *sizes),
        STEPS=tiles.steps,
        **constants,
    )
    columns = block(channels, COLUMNS)
    sums = torch.empty((2, channels), dtype=torch.float32, device=z.device)
    launch(
        _totals_kernel,
        (SUMS, cdiv(channels, columns)),
        *(partials, sums, dweight, dbias, dsmooth, tiles.programs, channels),
        TILE_S=power_of_two(tiles.programs),
        TILE_R=columns,
    )
    launch(
        _maps_gradient_kernel,
        (tiles.programs * tiles.steps,),
        *(df, z, mean, variance, weight, sums, dz, images, height * width, eps),
        BATCH=batch_statistics,
        **constants,
    )
    return dz, dweight, dbias, dsmooth


@backward_pass.register_fake
def _(dd: Tensor, dpooled: Tensor, z: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    _, _, weight, bias, _, smooth, *_ = rest
    return (
        new_maps(z, z.shape[0], *z.shape[2:]),
        torch.empty_like(weight),
        torch.empty_like(bias),
        torch.empty_like(smooth.contiguous()),
    )


@triton.jit
def _gradient(
    dd, dpooled, image, i, j, there, channel, height, width, R: tl.constexpr, AXIS: tl.constexpr
):
    """Gradient of the differences in pixels (i, j): their own, and what the pooled ones hand on."""
    mask = tile_mask(there, channel, R, AXIS)
    at = tile_offsets(image, i * width + j, channel, height * width, R, AXIS)
    own = tl.load(dd + at, mask=mask, other=0).to(tl.float32)
    rows, columns = height // 2, width // 2
    y, x = i // 2, j // 2
    mask = tile_mask(there & (y < rows) & (x < columns), channel, R, AXIS)
    at = tile_offsets(image, y * columns + x, channel, rows * columns, R, AXIS)
    return own + tl.load(dpooled + at, mask=mask, other=0).to(tl.float32) / 4


@triton.jit
def _smoothed_gradient_kernel(
    dd,
    dpooled,
    z,
    mean,
    variance,
    weight,
    bias,
    dg,
    partials,
    images,
    segments,
    height,
    width,
    eps,
    STEPS: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """dg[t] = N[t-1] + P[t+1], and a program's sums of dg[p] f[p + k] for the nine k."""
    channel = tl.arange(0, TILE_R)
    pixels = height * width
    centre = by_channel(mean, channel, R, AXIS)
    scale = tl.rsqrt(by_channel(variance, channel, R, AXIS) + eps)
    scale *= by_channel(weight, channel, R, AXIS)
    shift = by_channel(bias, channel, R, AXIS)
    zero = tl.expand_dims(tl.zeros((TILE_M * TILE_P,), tl.float32), 1 - AXIS) + centre * 0
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = (
        zero,
        zero,
        zero,
        zero,
        zero,
        zero,
        zero,
        zero,
        zero,
    )
    for step in range(STEPS):
        tile = tl.program_id(0) * STEPS + step
        image, pixel, inside = tile_positions(tile, images, pixels, TILE_M, TILE_P)
        i, j = pixel // width, pixel % width
        segment = image % segments
        there = inside & (segment > 0)
        grad = _gradient(dd, dpooled, image - 1, i, j, there, channel, height, width, R, AXIS)
        there = inside & (segment + 1 < segments)
        after = images + image + 1
        grad += _gradient(dd, dpooled, after, i, j, there, channel, height, width, R, AXIS)
        at = tile_offsets(image, pixel, channel, pixels, R, AXIS)
        tl.store(dg + at, grad, mask=tile_mask(inside, channel, R, AXIS))
        w00, w01, w02 = _add_row(
            *(w00, w01, w02, grad, z, image, i - 1, j, inside, channel),
            *(height, width, centre, scale, shift, R, AXIS),
        )
        w10, w11, w12 = _add_row(
            *(w10, w11, w12, grad, z, image, i, j, inside, channel),
            *(height, width, centre, scale, shift, R, AXIS),
        )
        w20, w21, w22 = _add_row(
            *(w20, w21, w22, grad, z, image, i + 1, j, inside, channel),
            *(height, width, centre, scale, shift, R, AXIS),
        )

    row = partials + (tl.program_id(0) * 11 + 2) * R
    store_sum(row, w00, channel, R, AXIS)
    store_sum(row + R, w01, channel, R, AXIS)
    store_sum(row + 2 * R, w02, channel, R, AXIS)
    store_sum(row + 3 * R, w10, channel, R, AXIS)
    store_sum(row + 4 * R, w11, channel, R, AXIS)
    store_sum(row + 5 * R, w12, channel, R, AXIS)
    store_sum(row + 6 * R, w20, channel, R, AXIS)
    store_sum(row + 7 * R, w21, channel, R, AXIS)
    store_sum(row + 8 * R, w22, channel, R, AXIS)


@triton.jit
def _add_row(
    left,
    middle,
    right,
    grad,
    z,
    image,
    y,
    j,
    inside,
    channel,
    height,
    width,
    centre,
    scale,
    shift,
    R: tl.constexpr,
    AXIS: tl.constexpr,
):
    """Add grad * f to three sums, with f of the pixels (y, j - 1), (y, j) and (y, j + 1)."""
    inside &= (y >= 0) & (y < height)
    at = tile_offsets(image, y * width + j, channel, height * width, R, AXIS)
    apart: tl.constexpr = R if AXIS == 0 else 1
    mask = tile_mask(inside & (j > 0), channel, R, AXIS)
    f = (tl.load(z + at - apart, mask=mask, other=0).to(tl.float32) - centre) * scale + shift
    left += tl.where(mask, grad * f, 0)
    mask = tile_mask(inside, channel, R, AXIS)
    f = (tl.load(z + at, mask=mask, other=0).to(tl.float32) - centre) * scale + shift
    middle += tl.where(mask, grad * f, 0)
    mask = tile_mask(inside & (j + 1 < width), channel, R, AXIS)
    f = (tl.load(z + at + apart, mask=mask, other=0).to(tl.float32) - centre) * scale + shift
    right += tl.where(mask, grad * f, 0)
    return left, middle, right


@triton.jit
def _features_gradient_kernel(
    dd,
    dpooled,
    dg,
    z,
    mean,
    variance,
    smooth,
    df,
    partials,
    images,
    segments,
    height,
    width,
    eps,
    STEPS: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """df, and a program's sums of df and of df * zhat."""
    channel = tl.arange(0, TILE_R)
    pixels = height * width
    centre = by_channel(mean, channel, R, AXIS)
    inverse = tl.rsqrt(by_channel(variance, channel, R, AXIS) + eps)
    dbias = tl.expand_dims(tl.zeros((TILE_M * TILE_P,), tl.float32), 1 - AXIS) + centre * 0
    dweight = dbias
    for step in range(STEPS):
        tile = tl.program_id(0) * STEPS + step
        image, pixel, inside = tile_positions(tile, images, pixels, TILE_M, TILE_P)
        i, j = pixel // width, pixel % width
        segment = image % segments
        there = inside & (segment + 1 < segments)
        grad = -_gradient(dd, dpooled, image, i, j, there, channel, height, width, R, AXIS)
        there = inside & (segment > 0)
        opposite = images + image
        grad -= _gradient(dd, dpooled, opposite, i, j, there, channel, height, width, R, AXIS)
        for k in tl.static_range(3):
            for m in tl.static_range(3):
                y, x = i + 1 - k, j + 1 - m
                there = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
                mask = tile_mask(there, channel, R, AXIS)
                near = tile_offsets(image, y * width + x, channel, pixels, R, AXIS)
                tap = by_channel(smooth + 3 * k + m, channel, R, AXIS, 9)
                grad += tap * tl.load(dg + near, mask=mask, other=0)
        mask = tile_mask(inside, channel, R, AXIS)
        at = tile_offsets(image, pixel, channel, pixels, R, AXIS)
        tl.store(df + at, rounded(grad, df.dtype.element_ty), mask=mask)
        dbias += grad
        dweight += grad * (tl.load(z + at, mask=mask, other=0).to(tl.float32) - centre)

    row = partials + tl.program_id(0) * 11 * R
    store_sum(row, dbias, channel, R, AXIS)
    store_sum(row + R, dweight * inverse, channel, R, AXIS)


@triton.jit
def _totals_kernel(
    partials,
    sums,
    dweight,
    dbias,
    dsmooth,
    programs,
    channels,
    TILE_S: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """One of the eleven sums for a block of channels, to where it belongs."""
    row = tl.program_id(0)
    channel = tl.program_id(1) * TILE_R + tl.arange(0, TILE_R)
    program = tl.arange(0, TILE_S)
    inside = channel < channels
    at = (program * 11 + row)[:, None] * channels + channel[None, :]
    mask = (program < programs)[:, None] & inside[None, :]
    total = tl.sum(tl.load(partials + at, mask=mask, other=0), axis=0)
    if row < 2:
        tl.store(sums + row * channels + channel, total, mask=inside)
    if row == 0:
        tl.store(dbias + channel, rounded(total, dbias.dtype.element_ty), mask=inside)
    elif row == 1:
        tl.store(dweight + channel, rounded(total, dweight.dtype.element_ty), mask=inside)
    else:
        place = channel * 9 + row - 2
        tl.store(dsmooth + place, rounded(total, dsmooth.dtype.element_ty), mask=inside)


@triton.jit
def _maps_gradient_kernel(
    df,
    z,
    mean,
    variance,
    weight,
    sums,
    dz,
    images,
    pixels,
    eps,
    BATCH: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """dz from df: through the batch norm, and its statistics if they are the batch's."""
    image, pixel, inside = tile_positions(tl.program_id(0), images, pixels, TILE_M, TILE_P)
    channel = tl.arange(0, TILE_R)
    mask = tile_mask(inside, channel, R, AXIS)
    at = tile_offsets(image, pixel, channel, pixels, R, AXIS)
    grad = tl.load(df + at, mask=mask, other=0).to(tl.float32)
    inverse = tl.rsqrt(by_channel(variance, channel, R, AXIS) + eps)
    if BATCH:
        centre = by_channel(mean, channel, R, AXIS)
        zhat = (tl.load(z + at, mask=mask, other=0).to(tl.float32) - centre) * inverse
        share = 1 / (images * 1.0 * pixels)
        dbias = by_channel(sums, channel, R, AXIS) * share
        dweight = by_channel(sums + R, channel, R, AXIS) * share
        grad -= dbias + zhat * dweight
    grad *= inverse * by_channel(weight, channel, R, AXIS)
    tl.store(dz + at, rounded(grad, dz.dtype.element_ty), mask=mask)
