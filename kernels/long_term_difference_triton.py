"""Long-term differences of maps as Triton kernels: batch norm, smoothing, differences, pooling.

With w the nine weights of a channel's smoothing conv, and f zero outside the image:

    f = weight * (z - mean) / sqrt(variance + eps) + bias
    g[p] = sum over k of w[k] f[p + k]
    next[t] = g[t+1] - f[t],  previous[t] = g[t-1] - f[t],  zero where there is no such segment
    pooled = average of 2x2

The maps have C/16 channels: neighbours in space and time come from the caches, and what counts is
the number of launches: one here, four in ``long_term_difference_backward``.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import cdiv, launch
from tdn.kernels.layout import as_laid
from tdn.kernels.long_term_difference_backward import backward_pass
from tdn.kernels.numerics import rounded
from tdn.kernels.tiles import (
    by_channel,
    cut,
    layout_constants,
    new_maps,
    tile_mask,
    tile_offsets,
    tile_positions,
)

ELEMENTS = 1024
"""Of a tile: 8 a thread, which are 16 bytes of float16."""


@torch.library.custom_op("tdn::long_term_differences", mutates_args=())
def differences_of_maps(
    z: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    smooth: Tensor,
    num_segments: int,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor]:
    """``long_term_difference.long_term_differences``."""
    z = as_laid(z, z)
    images, channels, height, width = z.shape
    d = new_maps(z, 2 * images, height, width)
    pooled = new_maps(z, 2 * images, height // 2, width // 2)
    tiles = cut(images, cdiv(height, 2) * cdiv(width, 2), channels, ELEMENTS)
    constants = layout_constants(z) | tiles.constants
    launch(
        _differences_kernel,
        (tiles.programs,),
        *(z, mean, variance, weight, bias, smooth.contiguous(), d, pooled),
        *(images, num_segments, height, width, eps),
        num_warps=4 if constants["AXIS"] == 0 else 8,  # else a thread has many channels' weights
        **constants,
    )
    return d, pooled


@differences_of_maps.register_fake
def _(z: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    images, _, height, width = z.shape
    d = new_maps(z, 2 * images, height, width)
    return d, new_maps(z, 2 * images, height // 2, width // 2)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    z, mean, variance, weight, bias, ctx.eps, smooth, ctx.num_segments, ctx.batch = inputs
    ctx.save_for_backward(z, mean, variance, weight, bias, smooth)


def _backward(ctx: Any, dd: Tensor, dpooled: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, smooth = ctx.saved_tensors
    dz, dweight, dbias, dsmooth = backward_pass(
        dd, dpooled, *inputs, ctx.eps, smooth, ctx.num_segments, ctx.batch
    )
    return dz, None, None, dweight, dbias, None, dsmooth, None, None


differences_of_maps.register_autograd(_backward, setup_context=_setup_context)


@triton.jit
def _differences_kernel(
    z,
    mean,
    variance,
    weight,
    bias,
    smooth,
    d,
    pooled,
    images,
    segments,
    height,
    width,
    eps,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """What segment t has part in: next[t-1] and previous[t+1], on 2x2 quads.

    The 4x4 pixels around a quad make its four g. The segments of a clip form a ring here, where
    the difference across the seam is zero: so every one is written once.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    image, quad, inside = tile_positions(tl.program_id(0), images, rows * columns, TILE_M, TILE_P)
    i = quad // columns * 2
    j = quad % columns * 2
    channel = tl.arange(0, TILE_R)
    pixels = height * width
    centre = by_channel(mean, channel, R, AXIS)
    scale = tl.rsqrt(by_channel(variance, channel, R, AXIS) + eps)
    scale *= by_channel(weight, channel, R, AXIS)
    shift = by_channel(bias, channel, R, AXIS)

    g00 = tl.expand_dims(quad * 0.0, 1 - AXIS) + tl.zeros_like(scale)
    g01, g10, g11 = g00, g00, g00
    for k in tl.static_range(4):
        for m in tl.static_range(4):
            y, x = i + k - 1, j + m - 1
            there = inside & (y >= 0) & (y < height) & (x >= 0) & (x < width)
            mask = tile_mask(there, channel, R, AXIS)
            at = tile_offsets(image, y * width + x, channel, pixels, R, AXIS)
            f = tl.load(z + at, mask=mask, other=0).to(tl.float32)
            f = tl.where(mask, (f - centre) * scale + shift, 0)
            if k < 3 and m < 3:
                g00 += f * by_channel(smooth + 3 * k + m, channel, R, AXIS, 9)
            if k < 3 and m > 0:
                g01 += f * by_channel(smooth + 3 * k + m - 1, channel, R, AXIS, 9)
            if k > 0 and m < 3:
                g10 += f * by_channel(smooth + 3 * k + m - 3, channel, R, AXIS, 9)
            if k > 0 and m > 0:
                g11 += f * by_channel(smooth + 3 * k + m - 4, channel, R, AXIS, 9)

    segment = image % segments
    has_before, has_after = segment > 0, segment + 1 < segments
    before = image + tl.where(has_before, -1, segments - 1)
    after = image + tl.where(has_after, 1, 1 - segments)
    pooled_next = tl.zeros_like(g00)
    pooled_previous = tl.zeros_like(g00)
    for k in tl.static_range(2):
        for m in tl.static_range(2):
            g = g00
            if k == 0 and m == 1:
                g = g01
            if k == 1 and m == 0:
                g = g10
            if k == 1 and m == 1:
                g = g11
            y, x = i + k, j + m
            here = inside & (y < height) & (x < width)
            mask = tile_mask(here, channel, R, AXIS)
            at = tile_offsets(before, y * width + x, channel, pixels, R, AXIS)
            other = tile_mask(here & has_before, channel, R, AXIS)
            f = (tl.load(z + at, mask=other, other=0).to(tl.float32) - centre) * scale + shift
            to_next = tl.where(other, g - f, 0)
            tl.store(d + at, rounded(to_next, d.dtype.element_ty), mask=mask)
            pooled_next += to_next
            at = tile_offsets(after, y * width + x, channel, pixels, R, AXIS)
            other = tile_mask(here & has_after, channel, R, AXIS)
            f = (tl.load(z + at, mask=other, other=0).to(tl.float32) - centre) * scale + shift
            to_previous = tl.where(other, g - f, 0)
            at = tile_offsets(images + after, y * width + x, channel, pixels, R, AXIS)
            tl.store(d + at, rounded(to_previous, d.dtype.element_ty), mask=mask)
            pooled_previous += to_previous

    whole = inside & (i + 1 < height) & (j + 1 < width)
    mask = tile_mask(whole, channel, R, AXIS)
    cells = (height // 2) * (width // 2)
    cell = i // 2 * (width // 2) + j // 2
    at = tile_offsets(before, cell, channel, cells, R, AXIS)
    tl.store(pooled + at, rounded(pooled_next / 4, d.dtype.element_ty), mask=mask)
    at = tile_offsets(images + after, cell, channel, cells, R, AXIS)
    tl.store(pooled + at, rounded(pooled_previous / 4, d.dtype.element_ty), mask=mask)
