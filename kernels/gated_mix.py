"""Gated mix: excitation of features by maps that never exist in memory, then the temporal conv.

With x the features, s the inner maps of a direction (R = C/16 channels), W the expanding 1x1 conv
and BN its batch norm:

    z = W s,  u = BN(z),  q = sigmoid(u),  m = 1/2 + (q+ + q-) / 2,  e = x * m
    out[t] = w0 * e[t-1] + w1 * e[t] + w2 * e[t+1]          (the temporal conv; or out = e)

z has 16 times the channels of s, so it is made where it is needed, from s, and its statistics
follow from those of s: mean(z) = W mean(s), var(z) = diag(W Cov(s) W^T). A pass reads x once and
writes the result once; so does the backward pass (``gated_mix_backward``).

With centred maps, s - mean(s), the product W (s - mean(s)) is z - mean(z) without cancellation.
Running statistics are not those of s: they leave s as it is, and u = a z + (bias - a mean).

Source: paper section 3.3; the algebra of the statistics is ours.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from tdn.kernels.backend import block, cdiv, launch
from tdn.kernels.excitation import excitation
from tdn.kernels.gated_mix_backward import backward_pass
from tdn.kernels.gated_mix_tiles import forward_tiling, inner_tile
from tdn.kernels.layout import as_laid, memory_format, offsets
from tdn.kernels.norm import Norm
from tdn.kernels.numerics import gates, product, rounded
from tdn.kernels.temporal_conv import temporal_conv


def gated_mix(
    x: Tensor,
    s: Tensor,
    moments: tuple[Tensor, Tensor] | None,
    norm: Norm,
    expand: Tensor,
    mix: Tensor | None,
    num_segments: int,
    scale: float = 1.0,
) -> Tensor:
    """Excite features and mix them over time.

    Args:
        x: features (N*T, C, H, W): float16, bfloat16 or float32.
        s: inner maps (2*N*T, R, H, W) of the same type, the direction to the next segment first.
        moments: mean (2, R) and covariance (2, R, R) of s by direction, float32, as
            ``branch_sum`` gives them; None where the batch norm uses running statistics.
        norm: batch norm of z: with statistics (2, C), a row a direction, from
            ``expanded_statistics``; or with running ones (C,), which both directions share.
        expand: weight of the 1x1 conv (C, R, 1, 1).
        mix: weight of the temporal conv (C, 1, 3); None leaves the temporal conv out.
        num_segments: T.
        scale: of s, applied to W: 1/3 where s is a sum that stands for a mean of three.

    Returns:
        (N*T, C, H, W) in the type and layout of x. Its gradients include those through the
        moments.
    """
    of_s = moments or (None, None)
    of_z, weights = norm[:2], norm[2:]
    return _gated_mix(x, s, *of_s, *of_z, expand, *weights, mix, num_segments, scale)


def reference(
    x: Tensor,
    s: Tensor,
    moments: tuple[Tensor, Tensor] | None,
    norm: Norm,
    expand: Tensor,
    mix: Tensor | None,
    num_segments: int,
    scale: float = 1.0,
) -> Tensor:
    """What ``gated_mix`` computes, in eager PyTorch; with moments, by the statistics of z."""
    z = F.conv2d(s, expand * scale)
    maps = [norm.normalise(v, moments is not None) for v in z.unflatten(0, (2, -1))]
    excited = excitation(x, *maps)
    return excited if mix is None else temporal_conv(excited, mix, num_segments)


@torch.library.custom_op("tdn::expanded_statistics", mutates_args=())
def expanded_statistics(
    mean: Tensor, covariance: Tensor, expand: Tensor, count: int, scale: float
) -> Tensor:
    """Statistics of z = scale * W s from those of s.

    Args:
        mean: of s (2, R), float32.
        covariance: of s (2, R, R), float32, biased.
        expand: W (C, R, 1, 1).
        count: positions of a direction, N*T*H*W.
        scale: of s.

    Returns:
        float32 (3, 2, C): mean, biased variance and unbiased variance, a row a direction.
    """
    channels, inner = expand.shape[:2]
    out = torch.empty((3, 2, channels), dtype=torch.float32, device=expand.device)
    tile_r = inner_tile(inner)
    tile_c = max(16, block(channels, 16))
    unbiased = count / max(1, count - 1)
    launch(
        _expanded_statistics_kernel,
        (cdiv(channels, tile_c), 2),
        *(mean, covariance, expand.contiguous(), out, channels, inner, scale, unbiased),
        TILE_C=tile_c,
        TILE_R=tile_r,
        PART=min(tile_r, 32),
    )
    return out


@expanded_statistics.register_fake
def _(mean: Tensor, covariance: Tensor, expand: Tensor, count: int, scale: float) -> Tensor:
    return mean.new_empty((3, 2, expand.shape[0]))


@triton.jit
def _expanded_statistics_kernel(
    mean,
    covariance,
    expand,
    out,
    channels,
    inner,
    scale,
    unbiased,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    PART: tl.constexpr,
):
    """mean(z) = W mean(s) and var(z) = diag(W Cov(s) W^T), some columns of Cov(s) at a time."""
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    direction = tl.program_id(1)
    r = tl.arange(0, TILE_R)
    in_c, in_r = c < channels, r < inner
    rows = expand + c[:, None] * inner
    w = scale * tl.load(rows + r[None, :], mask=in_c[:, None] & in_r[None, :], other=0).to(
        tl.float32
    )
    variance = tl.zeros((TILE_C,), tl.float32)
    for part in range(TILE_R // PART):
        q = part * PART + tl.arange(0, PART)
        cov = tl.load(
            covariance + (direction * inner + r[:, None]) * inner + q[None, :],
            mask=in_r[:, None] & (q < inner)[None, :],
            other=0,
        )
        w_q = scale * tl.load(
            rows + q[None, :], mask=in_c[:, None] & (q < inner)[None, :], other=0
        ).to(tl.float32)
        variance += tl.sum(tl.dot(w, cov, input_precision="tf32x3") * w_q, axis=1)
    m = tl.load(mean + direction * inner + r, mask=in_r, other=0)
    variance = tl.maximum(variance, 0, propagate_nan=tl.PropagateNan.ALL)
    row = out + direction * channels + c
    tl.store(row, tl.sum(w * m[None, :], axis=1), mask=in_c)
    tl.store(row + 2 * channels, variance, mask=in_c)
    tl.store(row + 4 * channels, variance * unbiased, mask=in_c)


@torch.library.custom_op("tdn::gated_mix", mutates_args=())
def _gated_mix(
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
) -> Tensor:
    _check(x, s, expand, num_segments)
    x = as_laid(x, x)
    s = as_laid(s, x)
    out = torch.empty_like(x, memory_format=memory_format(x))
    (images, channels, height, width), inner = x.shape, s.shape[1]
    tiling = forward_tiling(x, inner)
    blocks = cdiv(channels, tiling.channels), cdiv(height * width, tiling.pixels)
    launch(
        _gated_mix_kernel,
        (*blocks, images // num_segments),
        *(x, s, s if s_mean is None else s_mean, mean, variance, expand.contiguous()),
        *(weight, bias, weight if mix is None else mix.contiguous(), out),
        *(images, height * width, channels if mean.dim() == 2 else 0, eps, scale),
        num_warps=tiling.warps,
        num_stages=3,
        SEGMENTS=num_segments,
        TILE_P=tiling.pixels,
        TILE_C=tiling.channels,
        TILE_R=tiling.inner,
        CHANNELS=channels,
        INNER=inner,
        LAST=memory_format(x) == torch.channels_last,
        CENTRED=s_mean is not None,
        MIX=mix is not None,
        PRECISION=tiling.precision,
    )
    return out


def _check(x: Tensor, s: Tensor, expand: Tensor, num_segments: int) -> None:
    """Refuse shapes that kernels would read beyond."""
    images, channels, height, width = x.shape
    fits = s.shape == (2 * images, expand.shape[1], height, width) and len(expand) == channels
    if images % num_segments or not fits:
        raise ValueError(
            f"features {tuple(x.shape)} of {num_segments} segments do not go with maps "
            f"{tuple(s.shape)} and an expanding conv {tuple(expand.shape)}"
        )


@_gated_mix.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@triton.jit
def _gated_mix_kernel(
    x,
    s,
    s_mean,
    mean,
    variance,
    expand,
    weight,
    bias,
    mix,
    out,
    images,
    pixels,
    direction,
    eps,
    scale,
    SEGMENTS: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
    TILE_R: tl.constexpr,
    CHANNELS: tl.constexpr,
    INNER: tl.constexpr,
    LAST: tl.constexpr,
    CENTRED: tl.constexpr,
    MIX: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """All segments of a clip, one after the other, for a block of pixels and of channels.

    out[t-1] = w0 * e[t-2] + w1 * e[t-1] + w2 * e[t] as soon as e[t] is there.
    """
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    p = tl.program_id(1) * TILE_P + tl.arange(0, TILE_P)
    first = tl.program_id(2).to(tl.int64) * SEGMENTS
    r = tl.arange(0, TILE_R)
    in_c, in_r = c < CHANNELS, r < INNER
    inside = (p < pixels)[:, None] & in_c[None, :]
    inside_s = (p < pixels)[:, None] & in_r[None, :]
    at = offsets(p, c, pixels, CHANNELS, LAST)
    at_s = offsets(p, r, pixels, INNER, LAST)

    w = scale * tl.load(
        expand + c[None, :] * INNER + r[:, None], mask=in_r[:, None] & in_c[None, :], other=0
    ).to(tl.float32)
    gamma = tl.load(weight + c, mask=in_c, other=0).to(tl.float32)
    beta = tl.load(bias + c, mask=in_c, other=0).to(tl.float32)
    a_next = gamma * tl.rsqrt(tl.load(variance + c, mask=in_c, other=0) + eps)
    a_previous = gamma * tl.rsqrt(tl.load(variance + direction + c, mask=in_c, other=0) + eps)
    b_next, b_previous = beta, beta
    centre_next = tl.zeros((TILE_R,), tl.float32)
    centre_previous = centre_next
    if CENTRED:
        centre_next = tl.load(s_mean + r, mask=in_r, other=0)
        centre_previous = tl.load(s_mean + INNER + r, mask=in_r, other=0)
    else:
        b_next = beta - a_next * tl.load(mean + c, mask=in_c, other=0)
        b_previous = beta - a_previous * tl.load(mean + direction + c, mask=in_c, other=0)
    w0, w1, w2 = 0.0, 1.0, 0.0
    if MIX:
        w0 = tl.load(mix + 3 * c, mask=in_c, other=0).to(tl.float32)[None, :]
        w1 = tl.load(mix + 3 * c + 1, mask=in_c, other=0).to(tl.float32)[None, :]
        w2 = tl.load(mix + 3 * c + 2, mask=in_c, other=0).to(tl.float32)[None, :]

    before = tl.zeros((TILE_P, TILE_C), tl.float32)
    current = before
    for t in tl.range(SEGMENTS):
        image = (first + t) * pixels
        v = tl.load(x + image * CHANNELS + at, mask=inside, other=0).to(tl.float32)
        s_next = tl.load(s + image * INNER + at_s, mask=inside_s, other=0)
        opposite = (images * pixels + image) * INNER
        s_previous = tl.load(s + opposite + at_s, mask=inside_s, other=0)
        z_next = product(s_next.to(tl.float32) - centre_next[None, :], w, PRECISION)
        z_previous = product(s_previous.to(tl.float32) - centre_previous[None, :], w, PRECISION)
        u_next = z_next * a_next[None, :] + b_next[None, :]
        u_previous = z_previous * a_previous[None, :] + b_previous[None, :]
        q_next, q_previous, _, _ = gates(u_next, u_previous)
        e = v * (0.5 + 0.5 * (q_next + q_previous))
        if MIX:
            done = w0 * before + w1 * current + w2 * e
            tl.store(
                out + (image - pixels) * CHANNELS + at,
                rounded(done, out.dtype.element_ty),
                mask=inside & (t > 0),
            )
            before = current
            current = e
        else:
            tl.store(out + image * CHANNELS + at, rounded(e, out.dtype.element_ty), mask=inside)
    if MIX:
        last = (first + SEGMENTS - 1) * pixels * CHANNELS
        done = w0 * before + w1 * current
        tl.store(out + last + at, rounded(done, out.dtype.element_ty), mask=inside)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, eps, mix, num_segments, scale = inputs
    ctx.save_for_backward(*tensors, mix)
    ctx.eps, ctx.num_segments, ctx.scale = eps, num_segments, scale


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, mix = ctx.saved_tensors
    dx, ds, dexpand, dweight, dbias, dmix = backward_pass(
        grad, *tensors, ctx.eps, mix, ctx.num_segments, ctx.scale
    )
    wanted = ctx.needs_input_grad
    parameters = (
        d if want else None for d, want in zip((dexpand, dweight, dbias), wanted[6:9], strict=True)
    )
    dmix = dmix if mix is not None and wanted[10] else None
    return dx, ds, None, None, None, None, *parameters, None, dmix, None, None


_gated_mix.register_autograd(_gradients, setup_context=_keep)
