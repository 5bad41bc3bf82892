"""Long-term difference: how the features of a segment differ from those of its neighbours.

With f the features of the segments and g the same features smoothed by a depthwise conv:

    next[t]     = g[t+1] - f[t]    and 0 at the last segment
    previous[t] = g[t-1] - f[t]    and 0 at the first segment

The gradients, with N and P those of the two results, zero where the results are:

    df[t] = -(N[t] + P[t])
    dg[t] = N[t-1] + P[t+1]

``differences_of_maps`` starts before the batch norm that makes f and ends after the differences'
2x2 pooling. With w the nine weights of a channel's smoothing conv, and f zero outside the image:

    f = weight * (z - mean) / sqrt(variance + eps) + bias
    g[p] = sum over k of w[k] f[p + k]

The maps have C/16 channels: neighbours in space and time come from the caches, and what counts is
the number of launches: one here, four in ``long_term_difference_backward``.

Source: paper section 3.3; the sign is that of the released code.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tdn.kernels.backend import cdiv, launch, uses_triton
from tdn.kernels.layout import as_laid, memory_format
from tdn.kernels.long_term_difference_backward import backward_pass
from tdn.kernels.map_tiles import (
    by_channel,
    cut,
    layout_constants,
    new_maps,
    tile_mask,
    tile_offsets,
    tile_positions,
)
from tdn.kernels.norm import Norm
from tdn.kernels.numerics import rounded

ELEMENTS = 1024
"""Of a tile: 8 a thread, which are 16 bytes of float16."""


def differences_of_maps(
    z: Tensor, norm: Norm, smooth: Tensor, num_segments: int, batch_statistics: bool
) -> tuple[Tensor, Tensor]:
    """Normalise maps, smooth them, and take the differences of both directions.

    Args:
        z: maps (N*T, R, H, W), H and W at least 2: float16, bfloat16 or float32.
        norm: their batch norm, with statistics (R,).
        smooth: weight of the depthwise 3x3 conv (R, 1, 3, 3).
        num_segments: T.
        batch_statistics: the statistics are those of z, as in training, and the gradient of z
            has the part through them; otherwise they are constants.

    Returns:
        The differences (2*N*T, R, H, W) in the type and layout of z, to the next segment of all
        images, then to the previous one; and their 2x2 averages (2*N*T, R, H // 2, W // 2).
    """
    if uses_triton(z):
        return _differences_of_maps(z, *norm, smooth, num_segments, batch_statistics)
    return reference(z, norm, smooth, num_segments, batch_statistics)


def reference(
    z: Tensor, norm: Norm, smooth: Tensor, num_segments: int, batch_statistics: bool
) -> tuple[Tensor, Tensor]:
    """What ``differences_of_maps`` computes, in eager PyTorch."""
    f = norm.normalise(z, batch_statistics)
    g = F.conv2d(f, smooth, padding=1, groups=len(smooth))
    d = long_term_difference(f, g, num_segments)
    return d, F.avg_pool2d(d, 2)


def long_term_difference(f: Tensor, g: Tensor, num_segments: int) -> Tensor:
    """Differences to the next and to the previous segment.

    Args:
        f: features (N*T, C, H, W).
        g: smoothed features of the same shape and type.
        num_segments: T.

    Returns:
        (2*N*T, C, H, W) in the layout of f: the differences to the next segment of all images,
        then those to the previous one.
    """
    return _LongTermDifference.apply(f, g, num_segments)


class _LongTermDifference(torch.autograd.Function):
    """Writes both directions into one tensor, which padding and concatenating would copy twice."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, g: Tensor, num_segments: int) -> Tensor:
        ctx.num_segments = num_segments
        images, *image = f.shape
        stacked = torch.empty(
            (2 * images, *image), dtype=f.dtype, device=f.device, memory_format=memory_format(f)
        )
        clips = stacked.view(2, -1, num_segments, *image)
        to_next, to_previous = clips[0], clips[1]  # unpacked, they could not be written to
        f, g = (v.unflatten(0, (-1, num_segments)) for v in (f, g))
        to_next[:, :-1] = g[:, 1:] - f[:, :-1]
        to_next[:, -1] = 0
        to_previous[:, 1:] = g[:, :-1] - f[:, 1:]
        to_previous[:, 0] = 0
        return stacked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        to_next, to_previous = grad.unflatten(0, (2, -1))
        df, dg = torch.zeros_like(to_next), torch.zeros_like(to_next)
        to_next, to_previous, f, g = (
            v.unflatten(0, (-1, ctx.num_segments)) for v in (to_next, to_previous, df, dg)
        )
        f[:, :-1] -= to_next[:, :-1]
        f[:, 1:] -= to_previous[:, 1:]
        g[:, 1:] += to_next[:, :-1]
        g[:, :-1] += to_previous[:, 1:]
        return df, dg, None


@torch.library.custom_op("tdn::differences_of_maps", mutates_args=())
def _differences_of_maps(
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


@_differences_of_maps.register_fake
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


_differences_of_maps.register_autograd(_backward, setup_context=_setup_context)


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
