"""Sum of the branches: the differences, and both of their convs after batch norm.

With d the differences of both directions, half and full what the convs make of them at half and
at full resolution:

    s = d + nearest(BN(half)) + BN(full)

nearest repeats the pixels of half to the size of d: row i of the result is row floor(i * h / H),
where h = H // 2; so for an even H it is row i // 2, for an odd one (i - 1) // 2, and row 0 twice
more. Each direction has its own batch statistics, and the excitation needs those of s: its mean
and covariance over positions, by direction,

    mean = sum of s / P,  covariance = sum of (s - mean) (s - mean)^T / P

which are taken as s is written. A program centres what it has by its own mean; programs join by
the formula of Chan et al. (see ``moments``).

Source: paper section 3.3; nearest upsampling as in the released code, which divides s by 3.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from tdn.kernels.backend import block, cdiv, launch, uses_triton
from tdn.kernels.branch_sum_backward import backward_pass, statistics_rows
from tdn.kernels.layout import as_laid
from tdn.kernels.map_tiles import (
    PROGRAMS,
    by_channel,
    cut,
    layout_constants,
    new_maps,
    power_of_two,
    tile_mask,
    tile_offsets,
    tile_positions,
)
from tdn.kernels.norm import Norm
from tdn.kernels.numerics import product, rounded

ELEMENTS = 1024
"""Of a tile without moments: 8 a thread, 16 bytes of float16."""
MOMENTS_ELEMENTS = 4096
"""Of a tile with moments; a quarter of it in float32, multiplied without tensor cores."""
PAIRS = 8
"""Pairs of channels of a tile of partial covariances."""


def branch_sum(
    d: Tensor,
    half: Tensor,
    full: Tensor,
    half_norm: Norm,
    full_norm: Norm,
    batch_statistics: bool,
    with_moments: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Add the branches of both directions, and take the moments of the sum.

    Args:
        d: differences (2*M, R, H, W), H and W at least 2: float16, bfloat16 or float32.
        half: conv of the pooled differences (2*M, R, H // 2, W // 2), of the same type.
        full: conv of the differences (2*M, R, H, W), of the same type.
        half_norm: batch norm of half, with statistics (2, R), a row a direction, or (R,) for both.
        full_norm: batch norm of full.
        batch_statistics: the statistics are those of half and full, as in training, and the
            gradients have the parts through them; otherwise they are constants.
        with_moments: whether to take the moments of s.

    Returns:
        s (2*M, R, H, W) in the type and layout of d; and of s as it is stored, float32 and without
        gradient, the mean (2, R) and the biased covariance (2, R, R) of its directions, or empty
        tensors (0,) without moments.
    """
    if uses_triton(d):
        return _branch_sum(d, half, full, *half_norm, *full_norm, batch_statistics, with_moments)
    return reference(d, half, full, half_norm, full_norm, batch_statistics, with_moments)


def reference(
    d: Tensor,
    half: Tensor,
    full: Tensor,
    half_norm: Norm,
    full_norm: Norm,
    batch_statistics: bool,
    with_moments: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """What ``branch_sum`` computes, in eager PyTorch."""

    def normalised(x: Tensor, norm: Norm) -> Tensor:
        """By the statistics of its direction."""
        rows = zip(norm.mean.expand(2, -1), norm.variance.expand(2, -1), strict=True)
        norms = [norm._replace(mean=mean, variance=variance) for mean, variance in rows]
        directions = zip(norms, x.unflatten(0, (2, -1)), strict=True)
        return torch.cat([own.normalise(v, batch_statistics) for own, v in directions])

    half, full = normalised(half, half_norm), normalised(full, full_norm)
    s = d + F.interpolate(half, size=d.shape[2:], mode="nearest") + full
    if not with_moments:
        return s, d.new_empty(0, dtype=torch.float32), d.new_empty(0, dtype=torch.float32)
    channels = s.detach().to(torch.promote_types(s.dtype, torch.float32))
    channels = channels.unflatten(0, (2, -1)).transpose(1, 2).flatten(2)
    mean = channels.mean(-1)
    centred = channels - mean[..., None]
    return s, mean, centred @ centred.mT / channels.shape[-1]


@torch.library.custom_op("tdn::branch_sum", mutates_args=())
def _branch_sum(
    d: Tensor,
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
    with_moments: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    d = as_laid(d, d)
    images, channels, height, width = d.shape
    s, mean, covariance = _empty(d, with_moments)
    sizes = (images // 2, height * width, channels)
    exact = d.dtype == torch.float32
    if with_moments:
        elements = MOMENTS_ELEMENTS // 4 if exact else MOMENTS_ELEMENTS
        tiles = cut(*sizes, elements, PROGRAMS, least=16)
        warps = max(4, tiles.channels // (8 if exact else 16))
    else:
        tiles, warps = cut(*sizes, ELEMENTS), 4
    shape = (2, tiles.programs) if with_moments else (0, 0)
    means = torch.empty((*shape, 1 + channels), dtype=torch.float32, device=d.device)
    squares = torch.empty((*shape, channels, channels), dtype=torch.float32, device=d.device)
    launch(
        _sum_kernel,
        (tiles.programs, 2),
        *(d, as_laid(half, d), as_laid(full, d)),
        *(half_mean.contiguous(), half_variance.contiguous(), half_weight, half_bias),
        *(full_mean.contiguous(), full_variance.contiguous(), full_weight, full_bias),
        *(s, means, squares, images // 2, height, width, half_eps, full_eps),
        **statistics_rows(half_mean, full_mean, channels),
        STEPS=tiles.steps,
        MOMENTS=with_moments,
        PRECISION="ieee" if exact else "tf32",
        num_warps=warps,
        **tiles.constants,
        **layout_constants(d),
    )
    if with_moments:
        pairs = block(channels * channels, PAIRS)
        launch(
            _moments_kernel,
            (cdiv(channels * channels, pairs), 2),
            *(means, squares, mean, covariance, tiles.programs, channels),
            TILE_S=power_of_two(tiles.programs),
            PAIRS=pairs,
            num_warps=8,
        )
    return s, mean, covariance


@_branch_sum.register_fake
def _(d: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(d, rest[-1])


def _empty(d: Tensor, with_moments: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Results, uninitialised."""
    channels = d.shape[1]
    mean = (2, channels) if with_moments else (0,)
    covariance = (2, channels, channels) if with_moments else (0,)
    return (
        new_maps(d, d.shape[0], *d.shape[2:]),
        torch.empty(mean, dtype=torch.float32, device=d.device),
        torch.empty(covariance, dtype=torch.float32, device=d.device),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, half, full, *norms, ctx.batch_statistics, _ = inputs
    half_mean, half_variance, half_weight, half_bias, ctx.half_eps, *norms = norms
    full_mean, full_variance, full_weight, full_bias, ctx.full_eps = norms
    ctx.save_for_backward(
        *(half, full, half_mean, half_variance, half_weight, half_bias),
        *(full_mean, full_variance, full_weight, full_bias),
    )
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, ds: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    half, full, *norms = ctx.saved_tensors
    dhalf, dfull, *parameters = backward_pass(
        ds, half, full, *norms[:4], ctx.half_eps, *norms[4:], ctx.full_eps, ctx.batch_statistics
    )
    return (
        *(ds, dhalf, dfull),
        *(None, None, *parameters[:2], None),
        *(None, None, *parameters[2:], None),
        *(None, None),
    )


_branch_sum.register_autograd(_backward, setup_context=_setup_context)


@triton.jit
def _sum_kernel(
    d,
    half,
    full,
    half_mean,
    half_variance,
    half_weight,
    half_bias,
    full_mean,
    full_variance,
    full_weight,
    full_bias,
    s,
    means,
    squares,
    images,
    height,
    width,
    half_eps,
    full_eps,
    HALF_ROW: tl.constexpr,
    FULL_ROW: tl.constexpr,
    STEPS: tl.constexpr,
    MOMENTS: tl.constexpr,
    PRECISION: tl.constexpr,
    R: tl.constexpr,
    AXIS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_R: tl.constexpr,
):
    """s, and the number, the means and the centred products of a program's positions."""
    direction = tl.program_id(1)
    channel = tl.arange(0, TILE_R)
    half_scale = by_channel(half_variance + direction * HALF_ROW, channel, R, AXIS)
    half_scale = tl.rsqrt(half_scale + half_eps) * by_channel(half_weight, channel, R, AXIS)
    half_centre = by_channel(half_mean + direction * HALF_ROW, channel, R, AXIS)
    full_scale = by_channel(full_variance + direction * FULL_ROW, channel, R, AXIS)
    full_scale = tl.rsqrt(full_scale + full_eps) * by_channel(full_weight, channel, R, AXIS)
    full_centre = by_channel(full_mean + direction * FULL_ROW, channel, R, AXIS)
    shift = by_channel(half_bias, channel, R, AXIS) + by_channel(full_bias, channel, R, AXIS)

    pixels = height * width
    cells = (height // 2) * (width // 2)
    total = 0.0
    mean = tl.zeros((TILE_R,), tl.float32)
    products = tl.zeros((TILE_R, TILE_R), tl.float32)
    for step in range(STEPS):
        tile = tl.program_id(0) * STEPS + step
        image, pixel, inside = tile_positions(tile, images, pixels, TILE_M, TILE_P)
        mask = tile_mask(inside, channel, R, AXIS)
        image += direction * images
        y = tl.maximum(pixel // width - height % 2, 0) // 2
        x = tl.maximum(pixel % width - width % 2, 0) // 2
        at_half = tile_offsets(image, y * (width // 2) + x, channel, cells, R, AXIS)
        at = tile_offsets(image, pixel, channel, pixels, R, AXIS)
        value = tl.load(half + at_half, mask=mask, other=0).to(tl.float32)
        value = (value - half_centre) * half_scale + shift
        value += (tl.load(full + at, mask=mask, other=0).to(tl.float32) - full_centre) * full_scale
        value += tl.load(d + at, mask=mask, other=0).to(tl.float32)
        stored = rounded(value, s.dtype.element_ty)
        tl.store(s + at, stored, mask=mask)
        if MOMENTS:
            value = tl.where(mask, stored.to(tl.float32), 0)
            count = tl.sum(inside.to(tl.float32), axis=0)
            share = 1 / tl.maximum(count, 1)
            centre = tl.sum(value, axis=AXIS) * share
            rest = tl.where(mask, value - tl.expand_dims(centre, AXIS), 0)
            centre += tl.sum(rest, axis=AXIS) * share  # equal values: exactly theirs
            value = tl.where(mask, value - tl.expand_dims(centre, AXIS), 0)
            if AXIS == 0:
                products += product(tl.trans(value), value, PRECISION)
            else:
                products += product(value, tl.trans(value), PRECISION)
            before = total
            total += count
            delta = centre - mean
            mean += delta * (count / tl.maximum(total, 1))
            delta_share = delta * (before * count / tl.maximum(total, 1))
            products += delta_share[:, None] * delta[None, :]

    if MOMENTS:
        row = direction * tl.num_programs(0) + tl.program_id(0)
        tl.store(means + row * (1 + R), total)
        tl.store(means + row * (1 + R) + 1 + channel, mean, mask=channel < R)
        at = row.to(tl.int64) * R * R + channel[:, None] * R + channel[None, :]
        mask = (channel < R)[:, None] & (channel < R)[None, :]
        tl.store(squares + at, products, mask=mask)


@triton.jit
def _moments_kernel(
    means,
    squares,
    mean,
    covariance,
    programs,
    channels,
    TILE_S: tl.constexpr,
    PAIRS: tl.constexpr,
):
    """Covariances of a block of pairs of channels, from those of all programs; and the means."""
    direction = tl.program_id(1)
    pair = tl.program_id(0) * PAIRS + tl.arange(0, PAIRS)
    r, q = pair // channels, pair % channels
    inside = pair < channels * channels
    program = tl.arange(0, TILE_S)
    present = program < programs
    mask = present[:, None] & inside[None, :]
    rows = means + (direction * programs + program) * (1 + channels)
    count = tl.load(rows, mask=present, other=0)[:, None]
    first = means + direction * programs * (1 + channels) + 1
    pivot_r = tl.load(first + r, mask=inside, other=0)
    pivot_q = tl.load(first + q, mask=inside, other=0)
    of_r = tl.load(rows[:, None] + 1 + r[None, :], mask=mask, other=0) - pivot_r[None, :]
    of_q = tl.load(rows[:, None] + 1 + q[None, :], mask=mask, other=0) - pivot_q[None, :]
    total = tl.sum(count, axis=0)
    mean_r = tl.sum(count * of_r, axis=0) / total
    mean_q = tl.sum(count * of_q, axis=0) / total
    row = (direction * programs + program).to(tl.int64) * channels * channels
    sums = tl.load(squares + row[:, None] + pair[None, :], mask=mask, other=0)
    sums += count * (of_r - mean_r[None, :]) * (of_q - mean_q[None, :])
    out = direction * channels * channels + pair
    tl.store(covariance + out, tl.sum(sums, axis=0) / total, mask=inside)
    tl.store(mean + direction * channels + r, pivot_r + mean_r, mask=inside & (r == q))
