"""The backward pass of the gated mix (``gated_mix`` has the formulas of the forward pass).

With g the gradient of the result and zero outside the clip, P positions a direction, a = gamma /
sqrt(var + eps) and s centred:

    de[t] = w0 * g[t+1] + w1 * g[t] + w2 * g[t-1],   dx = de * m
    du    = de * x * q (1 - q) / 2                   of a direction
    D     = sum of du,  M = sum of du s^T            over positions
    dw0, dw1, dw2 = sums of e[t-1] g[t], e[t] g[t] and e[t+1] g[t]

    dbeta  = D,  dgamma = rowsum(W * M) / sqrt(var + eps),  k = a dgamma / (P sqrt(var + eps))
    dz     = a du - a D / P - k (z - mean(z))
    dW     = a M - k P W Cov(s),  ds = W^T dz

dW, dgamma and dbeta sum over both directions. Running statistics do not depend on s: there k and
D / P drop out, s is not centred, and dgamma = (rowsum(W * M) - mean D) / sqrt(var + eps).

Two passes read the features. The first, over clips, gives dx and the sums; the second, over
positions, makes dz in registers from x, dx and s (de = dx / m, and m is at least 1/2) and writes
ds. Sums are kept by program and added in a fixed order: results are the same bits in every run.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv, launch
from tdn.kernels.gated_mix_parameters import parameter_gradients
from tdn.kernels.gated_mix_tiles import features_tiling, inner_tile, maps_tiling, summed_part
from tdn.kernels.layout import as_laid, memory_format, offsets
from tdn.kernels.numerics import column_sums, gates, product, rounded

PROGRAMS = 528
"""Of the first pass, about: four for each processor of an H100."""


@torch.library.custom_op("tdn::gated_mix_backward", mutates_args=())
def backward_pass(
    grad: Tensor,
    x: Tensor,
    s: Tensor,
    s_mean: Tensor | None,
    s_covariance: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    expand: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    mix: Tensor | None,
    num_segments: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, s, expand, weight, bias and mix (empty without a mix).

    Args: as ``gated_mix``; grad is that of its result.
    """
    grad, s, expand = as_laid(grad, x), as_laid(s, x), expand.contiguous()
    (images, channels, height, width), inner = x.shape, s.shape[1]
    pixels = height * width
    dx = torch.empty_like(x, memory_format=memory_format(x))
    ds = torch.empty_like(s, memory_format=memory_format(s))
    common = (expand, weight, bias, mean, variance, s if s_mean is None else s_mean)
    numbers = (channels if mean.dim() == 2 else 0, eps, scale)
    kinds = {
        "TILE_R": inner_tile(inner),
        "CHANNELS": channels,
        "INNER": inner,
        "LAST": memory_format(x) == torch.channels_last,
        "CENTRED": s_mean is not None,
    }

    tiling, part = features_tiling(x, inner), summed_part(x, inner)
    units = images // num_segments * cdiv(pixels, tiling.pixels)
    columns = cdiv(channels, tiling.channels)
    steps = block(cdiv(units * columns, PROGRAMS), 64)
    programs = cdiv(units, steps)
    sums = torch.empty((programs, 2 * inner + 5, channels), dtype=torch.float32, device=x.device)
    launch(
        _features_kernel,
        (columns, programs, tiling.inner // part),
        *(x, s, grad, dx, sums, weight if mix is None else mix.contiguous(), *common),
        *(images, pixels, *numbers),
        num_warps=tiling.warps,
        SEGMENTS=num_segments,
        STEPS=steps,
        TILE_P=tiling.pixels,
        TILE_C=tiling.channels,
        PART=part,
        PRECISION=tiling.precision,
        MIX=mix is not None,
        **kinds,
    )
    dexpand, dweight, dbias, dmix, corrections = parameter_gradients(
        column_sums(sums), *common[:5], s_covariance, mix, images * pixels, numbers
    )
    tiling = maps_tiling(x, inner)
    launch(
        _maps_kernel,
        (cdiv(pixels, tiling.pixels), images),
        *(x, s, dx, ds, corrections, *common, images, pixels, *numbers),
        num_warps=tiling.warps,
        TILE_P=tiling.pixels,
        TILE_C=tiling.channels,
        PRECISION=tiling.precision,
        **kinds,
    )
    return dx, ds, dexpand, dweight, dbias, dmix


@backward_pass.register_fake
def _(grad: Tensor, x: Tensor, s: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    expand, weight, bias, _, mix = rest[4:9]
    return (
        torch.empty_like(x, memory_format=memory_format(x)),
        torch.empty_like(s, memory_format=memory_format(s)),
        torch.empty_like(expand, memory_format=torch.contiguous_format),
        torch.empty_like(weight),
        torch.empty_like(bias),
        weight.new_empty(0) if mix is None else torch.empty_like(mix),
    )


@triton.jit
def _norm(weight, bias, mean, variance, c, in_c, eps, CENTRED: tl.constexpr):
    """a and b of u = a z + b, of a block of channels."""
    a = tl.load(weight + c, mask=in_c, other=0).to(tl.float32)
    a *= tl.rsqrt(tl.load(variance + c, mask=in_c, other=0) + eps)
    b = tl.load(bias + c, mask=in_c, other=0).to(tl.float32)
    if not CENTRED:
        b -= a * tl.load(mean + c, mask=in_c, other=0)
    return a, b


@triton.jit
def _features_kernel(
    x,
    s,
    grad,
    dx,
    sums,
    mix,
    expand,
    weight,
    bias,
    mean,
    variance,
    s_mean,
    images,
    pixels,
    direction,
    eps,
    scale,
    SEGMENTS: tl.constexpr,
    STEPS: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    PART: tl.constexpr,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    CENTRED: tl.constexpr,
    MIX: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """dx, and a row of sums a program: M+, M- (R each), D+, D-, dw0, dw1 and dw2, by channel.

    Where s has many channels, a program sums M for a part of them, and goes through all of them
    part by part for the gates; what does not depend on the part is written by the first.
    """
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    r = tl.program_id(2) * PART + tl.arange(0, PART)
    of_first_part = c < tl.where(tl.program_id(2) == 0, CHANNELS, 0)
    in_c, in_r = c < CHANNELS, r < INNER
    w = scale * tl.load(
        expand + c[None, :] * INNER + r[:, None], mask=in_r[:, None] & in_c[None, :], other=0
    ).to(tl.float32)
    a_next, b_next = _norm(weight, bias, mean, variance, c, in_c, eps, CENTRED)
    a_previous, b_previous = _norm(
        weight, bias, mean + direction, variance + direction, c, in_c, eps, CENTRED
    )
    centre_next = tl.zeros((PART,), tl.float32)
    centre_previous = centre_next
    if CENTRED:
        centre_next = tl.load(s_mean + r, mask=in_r, other=0)
        centre_previous = tl.load(s_mean + INNER + r, mask=in_r, other=0)
    w0 = tl.zeros((1, TILE_C), tl.float32)
    w1, w2 = w0 + 1, w0
    if MIX:
        w0 = tl.load(mix + 3 * c, mask=in_c, other=0).to(tl.float32)[None, :]
        w1 = tl.load(mix + 3 * c + 1, mask=in_c, other=0).to(tl.float32)[None, :]
        w2 = tl.load(mix + 3 * c + 2, mask=in_c, other=0).to(tl.float32)[None, :]

    zero = tl.zeros((TILE_P, TILE_C), tl.float32)
    m_next = tl.zeros((PART, TILE_C), tl.float32)
    m_previous = m_next
    d_next, d_previous, dw0, dw1, dw2 = zero, zero, zero, zero, zero
    blocks = tl.cdiv(pixels, TILE_P)
    for step in range(STEPS):
        unit = tl.program_id(1) * STEPS + step
        first = (unit // blocks).to(tl.int64) * SEGMENTS
        p = unit % blocks * TILE_P + tl.arange(0, TILE_P)
        in_p = p < tl.where(first < images, pixels, 0)
        inside = in_p[:, None] & in_c[None, :]
        inside_s = in_p[:, None] & in_r[None, :]
        at = offsets(p, c, pixels, CHANNELS, LAST)
        at_s = offsets(p, r, pixels, INNER, LAST)
        e_before, g_before = zero, zero
        g = tl.load(grad + first * pixels * CHANNELS + at, mask=inside, other=0).to(tl.float32)
        for t in range(SEGMENTS):
            image = (first + t) * pixels
            v = tl.load(x + image * CHANNELS + at, mask=inside, other=0).to(tl.float32)
            g_after = tl.load(
                grad + (image + pixels) * CHANNELS + at,
                mask=inside & (t + 1 < SEGMENTS),
                other=0,
            ).to(tl.float32)
            s_next = tl.load(s + image * INNER + at_s, mask=inside_s, other=0).to(tl.float32)
            opposite = (images * pixels + image) * INNER
            s_previous = tl.load(s + opposite + at_s, mask=inside_s, other=0).to(tl.float32)
            s_next -= centre_next[None, :]
            s_previous -= centre_previous[None, :]
            u_next = product(s_next, w, PRECISION)
            u_previous = product(s_previous, w, PRECISION)
            for other in range(1, TILE_R // PART):
                q = (tl.program_id(2) * PART + other * PART) % TILE_R + tl.arange(0, PART)
                in_q = q < INNER
                inside_q = in_p[:, None] & in_q[None, :]
                at_q = image * INNER + offsets(p, q, pixels, INNER, LAST)
                w_q = scale * tl.load(
                    expand + c[None, :] * INNER + q[:, None],
                    mask=in_q[:, None] & in_c[None, :],
                    other=0,
                ).to(tl.float32)
                for side in tl.static_range(2):
                    at_side = (side * images * pixels) * INNER + at_q
                    part = tl.load(s + at_side, mask=inside_q, other=0).to(tl.float32)
                    if CENTRED:
                        part -= tl.load(s_mean + side * INNER + q, mask=in_q, other=0)[None, :]
                    if side == 0:
                        u_next += product(part, w_q, PRECISION)
                    else:
                        u_previous += product(part, w_q, PRECISION)
            u_next = u_next * a_next[None, :] + b_next[None, :]
            u_previous = u_previous * a_previous[None, :] + b_previous[None, :]
            q_next, q_previous, slope_next, slope_previous = gates(u_next, u_previous)
            gate = 0.5 + 0.5 * (q_next + q_previous)
            if MIX:
                e = v * gate
                de = w0 * g_after + w1 * g + w2 * g_before
                dw0 += e_before * g
                dw1 += e * g
                dw2 += e * g_before
                e_before = e
                g_before = g
            else:
                de = g
            tl.store(
                dx + image * CHANNELS + at,
                rounded(de * gate, dx.dtype.element_ty),
                mask=inside & of_first_part[None, :],
            )
            half = 0.5 * de * v
            du_next = half * slope_next
            du_previous = half * slope_previous
            d_next += du_next
            d_previous += du_previous
            m_next += product(tl.trans(s_next), du_next, PRECISION)
            m_previous += product(tl.trans(s_previous), du_previous, PRECISION)
            g = g_after

    row = sums + tl.program_id(1).to(tl.int64) * (2 * INNER + 5) * CHANNELS
    inside_m = in_r[:, None] & in_c[None, :]
    at_m = row + r[:, None] * CHANNELS + c[None, :]
    tl.store(at_m, m_next, mask=inside_m)
    tl.store(at_m + INNER * CHANNELS, m_previous, mask=inside_m)
    row += 2 * INNER * CHANNELS + c
    tl.store(row, tl.sum(d_next, axis=0), mask=of_first_part)
    tl.store(row + CHANNELS, tl.sum(d_previous, axis=0), mask=of_first_part)
    tl.store(row + 2 * CHANNELS, tl.sum(dw0, axis=0), mask=of_first_part)
    tl.store(row + 3 * CHANNELS, tl.sum(dw1, axis=0), mask=of_first_part)
    tl.store(row + 4 * CHANNELS, tl.sum(dw2, axis=0), mask=of_first_part)


@triton.jit
def _maps_kernel(
    x,
    s,
    dx,
    ds,
    corrections,
    expand,
    weight,
    bias,
    mean,
    variance,
    s_mean,
    images,
    pixels,
    direction,
    eps,
    scale,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    CENTRED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """ds = W^T dz of a block of pixels, over all channels, block by block."""
    p = tl.program_id(0) * TILE_P + tl.arange(0, TILE_P)
    image = tl.program_id(1).to(tl.int64) * pixels
    r = tl.arange(0, TILE_R)
    in_p, in_r = p < pixels, r < INNER
    inside_s = in_p[:, None] & in_r[None, :]
    at_s = offsets(p, r, pixels, INNER, LAST)
    opposite = (images * pixels + image) * INNER
    s_next = tl.load(s + image * INNER + at_s, mask=inside_s, other=0).to(tl.float32)
    s_previous = tl.load(s + opposite + at_s, mask=inside_s, other=0).to(tl.float32)
    if CENTRED:
        s_next -= tl.load(s_mean + r, mask=in_r, other=0)[None, :]
        s_previous -= tl.load(s_mean + INNER + r, mask=in_r, other=0)[None, :]
    ds_next = tl.zeros((TILE_P, TILE_R), tl.float32)
    ds_previous = ds_next
    for number in range((CHANNELS + TILE_C - 1) // TILE_C):
        c = number * TILE_C + tl.arange(0, TILE_C)
        in_c = c < CHANNELS
        inside = in_p[:, None] & in_c[None, :]
        at = offsets(p, c, pixels, CHANNELS, LAST)
        v = tl.load(x + image * CHANNELS + at, mask=inside, other=0).to(tl.float32)
        slope = tl.load(dx + image * CHANNELS + at, mask=inside, other=0).to(tl.float32)
        w = scale * tl.load(
            expand + c[:, None] * INNER + r[None, :], mask=in_c[:, None] & in_r[None, :], other=0
        ).to(tl.float32)
        a_next, b_next = _norm(weight, bias, mean, variance, c, in_c, eps, CENTRED)
        a_previous, b_previous = _norm(
            weight, bias, mean + direction, variance + direction, c, in_c, eps, CENTRED
        )
        z_next = product(s_next, tl.trans(w), PRECISION)
        z_previous = product(s_previous, tl.trans(w), PRECISION)
        q_next, q_previous, slope_next, slope_previous = gates(
            z_next * a_next[None, :] + b_next[None, :],
            z_previous * a_previous[None, :] + b_previous[None, :],
        )
        half = slope * v / (1 + q_next + q_previous)  # de * x / 2, as dx = de * m
        dz_next = half * slope_next * a_next[None, :]
        dz_previous = half * slope_previous * a_previous[None, :]
        if CENTRED:
            row = corrections + c
            k_next = tl.load(row, mask=in_c, other=0)
            shift_next = tl.load(row + CHANNELS, mask=in_c, other=0)
            k_previous = tl.load(row + 2 * CHANNELS, mask=in_c, other=0)
            shift_previous = tl.load(row + 3 * CHANNELS, mask=in_c, other=0)
            dz_next -= k_next[None, :] * z_next + shift_next[None, :]
            dz_previous -= k_previous[None, :] * z_previous + shift_previous[None, :]
        ds_next += product(dz_next, w, PRECISION)
        ds_previous += product(dz_previous, w, PRECISION)
    tl.store(ds + image * INNER + at_s, rounded(ds_next, ds.dtype.element_ty), mask=inside_s)
    tl.store(ds + opposite + at_s, rounded(ds_previous, ds.dtype.element_ty), mask=inside_s)
