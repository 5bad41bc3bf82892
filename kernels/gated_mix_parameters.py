"""Gradients of the gated mix's parameters, from the sums of ``gated_mix_backward``.

All of it is small: C x R numbers, whatever the batch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv, launch
from tdn.kernels.gated_mix_tiles import inner_tile
from tdn.kernels.numerics import rounded


def parameter_gradients(
    totals: Tensor,
    expand: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    s_covariance: Tensor | None,
    mix: Tensor | None,
    count: int,
    numbers: tuple[int, float, float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of expand, weight, bias and mix, and what of dz is not a du.

    Args:
        totals: float32 (2R + 5, C): M+, M-, D+, D-, dw0, dw1, dw2.
        expand, weight, bias, mean, variance, s_covariance, mix: as ``gated_mix``.
        count: positions of a direction, P.
        numbers: elements from a direction's statistics to the other's, eps, scale.

    Returns:
        Four gradients, that of mix empty without a mix, and float32 (4, C): k and a D / P of the
        direction to the next segment, then of the other; undefined for running statistics.
    """
    channels, inner = expand.shape[:2]
    tile_r = inner_tile(inner)
    tile_c = max(16, block(channels, 16))
    part = 16
    dexpand, dweight, dbias = (torch.empty_like(v) for v in (expand, weight, bias))
    dmix = torch.empty_like(weight[:0] if mix is None else mix)
    corrections = torch.empty((4, channels), dtype=torch.float32, device=totals.device)
    centred = s_covariance is not None
    launch(
        _norm_and_mix_kernel,
        (cdiv(channels, tile_c),),
        *(totals, expand, weight, mean, variance, dweight, dbias),
        *(dweight if mix is None else dmix, corrections, channels, inner, count, *numbers),
        TILE_C=tile_c,
        TILE_R=tile_r,
        CENTRED=centred,
        MIX=mix is not None,
    )
    launch(
        _expand_kernel,
        (cdiv(channels, tile_c), tile_r // part),
        *(totals, expand, weight, variance, s_covariance if centred else totals, corrections),
        *(dexpand, channels, inner, count, *numbers),
        TILE_C=tile_c,
        TILE_R=tile_r,
        PART=part,
        CENTRED=centred,
    )
    return dexpand, dweight, dbias, dmix, corrections


@triton.jit
def _norm_and_mix_kernel(
    totals,
    expand,
    weight,
    mean,
    variance,
    dweight,
    dbias,
    dmix,
    corrections,
    channels,
    inner,
    count,
    direction,
    eps,
    scale,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    CENTRED: tl.constexpr,
    MIX: tl.constexpr,
):
    """Gradients of a block of channels' parameters; per direction k and a D / P for dz."""
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    r = tl.arange(0, TILE_R)
    in_c = c < channels
    inside = (r < inner)[:, None] & in_c[None, :]
    w = scale * tl.load(expand + c[None, :] * inner + r[:, None], mask=inside, other=0).to(
        tl.float32
    )
    gamma = tl.load(weight + c, mask=in_c, other=0).to(tl.float32)
    dgamma = tl.zeros((TILE_C,), tl.float32)
    dbeta = dgamma
    for side in tl.static_range(2):
        inverse = tl.rsqrt(tl.load(variance + side * direction + c, mask=in_c, other=0) + eps)
        rows = totals + (side * inner + r[:, None]) * channels
        m = tl.load(rows + c[None, :], mask=inside, other=0)
        d = tl.load(totals + (2 * inner + side) * channels + c, mask=in_c, other=0)
        slope = tl.sum(w * m, axis=0)
        if not CENTRED:
            slope -= d * tl.load(mean + side * direction + c, mask=in_c, other=0)
        slope *= inverse
        dgamma += slope
        dbeta += d
        if CENTRED:
            a = gamma * inverse
            tl.store(corrections + 2 * side * channels + c, a * inverse * slope / count, mask=in_c)
            tl.store(corrections + (2 * side + 1) * channels + c, a * d / count, mask=in_c)
    tl.store(dweight + c, rounded(dgamma, dweight.dtype.element_ty), mask=in_c)
    tl.store(dbias + c, rounded(dbeta, dbias.dtype.element_ty), mask=in_c)
    if MIX:
        for tap in tl.static_range(3):
            v = tl.load(totals + (2 * inner + 2 + tap) * channels + c, mask=in_c, other=0)
            tl.store(dmix + 3 * c + tap, rounded(v, dmix.dtype.element_ty), mask=in_c)


@triton.jit
def _expand_kernel(
    totals,
    expand,
    weight,
    variance,
    covariance,
    corrections,
    dexpand,
    channels,
    inner,
    count,
    direction,
    eps,
    scale,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    PART: tl.constexpr,
    CENTRED: tl.constexpr,
):
    """dW = a M - k P W Cov(s) of both directions, for a block of channels and a part of R."""
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    q = tl.program_id(1) * PART + tl.arange(0, PART)
    r = tl.arange(0, TILE_R)
    in_c, in_r, in_q = c < channels, r < inner, q < inner
    inside = in_q[:, None] & in_c[None, :]
    w = scale * tl.load(
        expand + c[None, :] * inner + r[:, None], mask=in_r[:, None] & in_c[None, :], other=0
    ).to(tl.float32)
    gamma = tl.load(weight + c, mask=in_c, other=0).to(tl.float32)
    dw = tl.zeros((PART, TILE_C), tl.float32)
    for side in tl.static_range(2):
        inverse = tl.rsqrt(tl.load(variance + side * direction + c, mask=in_c, other=0) + eps)
        rows = totals + (side * inner + q[:, None]) * channels
        m = tl.load(rows + c[None, :], mask=inside, other=0)
        dw += (gamma * inverse)[None, :] * m
        if CENTRED:
            k = tl.load(corrections + 2 * side * channels + c, mask=in_c, other=0)
            at_cov = (side * inner + q[:, None]) * inner + r[None, :]
            cov = tl.load(covariance + at_cov, mask=in_q[:, None] & in_r[None, :], other=0)
            dw -= (k * count)[None, :] * tl.dot(cov, w, input_precision="tf32x3")
    tl.store(
        dexpand + c[None, :] * inner + q[:, None],
        rounded(scale * dw, dexpand.dtype.element_ty),
        mask=inside,
    )
