"""Temporal conv: a depthwise conv over the segments of a clip, zero padded.

With w0, w1, w2 a channel's three weights and x zero outside the clip:

    out[t] = w0 * x[t-1] + w1 * x[t] + w2 * x[t+1]

The gradients, with D that of the result and zero outside the clip:

    dx[t] = w2 * D[t-1] + w1 * D[t] + w0 * D[t+1]
    dw0 = sum of x[t-1] * D[t],    dw1 = sum of x[t] * D[t],    dw2 = sum of x[t+1] * D[t]

Neighbours in time lie a whole image apart in memory, so three multiply-adds on shifted views
need no copy; a library conv over time first has to permute the tensor there and back, except in
channels_last, where the segments of a clip are the rows of one image that is H*W pixels wide: on a
CPU oneDNN's depthwise conv takes that as it is. The kernels
walk through the segments of a clip and keep both neighbours in registers, so that every value is
read once.

Source: the released code (a learnable form of the temporal shift of TSM, ICCV 2019).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tdn.kernels.backend import TYPES, cdiv, launch, uses_triton
from tdn.kernels.layout import as_laid, memory_format, offsets, tile_sides
from tdn.kernels.numerics import column_sums, rounded

LINE = 128
"""Bytes of a tile that lie side by side, 16 a thread: the backward kernel has many such tiles."""
PROGRAMS = 1024
"""Of the backward kernel, at most: enough for a GPU, and few sums for ``column_sums`` to read."""

HAS_ONEDNN = torch.backends.mkldnn.is_available()


def temporal_conv(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    """Depthwise conv over time, kernel 3, zero padding.

    Args:
        x: features (N*T, C, H, W).
        weight: (C, 1, 3), its last dimension for the segments t-1, t and t+1; floating point, of
            any precision.
        num_segments: T.

    Returns:
        (N*T, C, H, W) in the type and layout of x.
    """
    if uses_triton(x) and weight.dtype in TYPES:
        return _temporal_conv(x, weight, num_segments)
    return _TemporalConv.apply(x, weight, num_segments)


class _TemporalConv(torch.autograd.Function):
    """The mirrored conv gives the gradient, where autograd would copy it for every shifted view."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.num_segments = num_segments
        if _suits_onednn(x, weight):
            clips = _as_images_of_clips(x, num_segments)
            out = torch.convolution(clips, weight.unsqueeze(-1), None, *_ALONG_T, len(weight))
            return _as_images_of_segments(out, x)
        return _convolve(x, weight, num_segments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        if _suits_onednn(x, weight):
            dx, dw, _ = torch.ops.aten.convolution_backward(
                *(_as_images_of_clips(v, ctx.num_segments) for v in (grad, x)),
                *(weight.unsqueeze(-1), None, *_ALONG_T, len(weight), (True, True, False)),
            )
            return _as_images_of_segments(dx, x), dw.view_as(weight), None
        dx = _convolve(grad, weight.flip(-1), ctx.num_segments)
        x, grad = (v.unflatten(0, (-1, ctx.num_segments)) for v in (x, grad))
        pairs = ((x[:, :-1], grad[:, 1:]), (x, grad), (x[:, 1:], grad[:, :-1]))
        sums = [(v * g).sum((0, 1, 3, 4), dtype=weight.dtype) for v, g in pairs]
        return dx, torch.stack(sums, dim=-1).view_as(weight), None


_ALONG_T = ((1, 1), (1, 0), (1, 1), False, (0, 0))
"""Stride, padding, dilation, and what a transposed conv would take."""


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether torch's conv needs no copy, has a fast form for so many groups, and is in fp32.

    In channels_last the segments of a clip are one image with T rows of H*W pixels.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and memory_format(x) == torch.channels_last
        and HAS_ONEDNN
        and not torch.compiler.is_compiling()
    )


def _as_images_of_clips(x: Tensor, num_segments: int) -> Tensor:
    """(N*T, C, H, W) in channels_last as (N, C, T, H*W)."""
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)
    return rows.view(-1, num_segments, *rows.shape[1:]).permute(0, 3, 1, 2)


def _as_images_of_segments(clips: Tensor, model: Tensor) -> Tensor:
    """The way back, to the shape of the model."""
    images, channels, height, width = model.shape
    return clips.permute(0, 2, 3, 1).reshape(images, height, width, channels).permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    """The formula; each weight is laid out as an image, which keeps the inner loops long."""
    images = torch.empty(
        (3, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=memory_format(x)
    )
    previous, current, following = images.copy_(weight.permute(2, 0, 1).unsqueeze(-1))
    clips = x.unflatten(0, (-1, num_segments))
    if torch.compiler.is_compiling():
        # Inductor of torch 2.13 gets the writes into slices below wrong on CPUs, where maps are
        # small (4x4 pixels); it fuses the padding away.
        before = F.pad(clips[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        after = F.pad(clips[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
        return (clips * current + before * previous + after * following).flatten(0, 1)
    out = x * current
    result = out.unflatten(0, (-1, num_segments))
    result[:, 1:].addcmul_(clips[:, :-1], previous)
    result[:, :-1].addcmul_(clips[:, 1:], following)
    return out


@torch.library.custom_op("tdn::temporal_conv", mutates_args=())
def _temporal_conv(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    if x.shape[0] % num_segments or len(weight) != x.shape[1]:
        raise ValueError(
            f"features {tuple(x.shape)} of {num_segments} segments do not go with a temporal conv "
            f"{tuple(weight.shape)}"
        )
    x = as_laid(x, x)
    out = torch.empty_like(x, memory_format=memory_format(x))
    images, channels, height, width = x.shape
    tile_p, tile_c = tile_sides(x, LINE // x.element_size(), 16)
    launch(
        _temporal_conv_kernel,
        (cdiv(channels, tile_c), cdiv(height * width, tile_p), images // num_segments),
        *(x, weight.contiguous(), out, height * width),
        SEGMENTS=num_segments,
        CHANNELS=channels,
        LAST=memory_format(x) == torch.channels_last,
        TILE_P=tile_p,
        TILE_C=tile_c,
    )
    return out


@_temporal_conv.register_fake
def _(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@torch.library.custom_op("tdn::temporal_conv_backward", mutates_args=())
def _temporal_conv_backward(
    grad: Tensor, x: Tensor, weight: Tensor, num_segments: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weight."""
    x, grad = as_laid(x, x), as_laid(grad, x)
    dx = torch.empty_like(x, memory_format=memory_format(x))
    images, channels, height, width = x.shape
    tile_p, tile_c = tile_sides(x, LINE // x.element_size(), 16)
    blocks = cdiv(height * width, tile_p)
    count = images // num_segments * blocks
    steps = max(1, triton.next_power_of_2(cdiv(count * cdiv(channels, tile_c), PROGRAMS)))
    programs = cdiv(count, steps)
    sums = torch.empty((programs, channels, 3), dtype=torch.float32, device=x.device)
    launch(
        _temporal_conv_backward_kernel,
        (cdiv(channels, tile_c), programs),
        *(grad, x, weight.contiguous(), dx, sums, height * width, count),
        STEPS=steps,
        SEGMENTS=num_segments,
        CHANNELS=channels,
        LAST=memory_format(x) == torch.channels_last,
        TILE_P=tile_p,
        TILE_C=tile_c,
    )
    return dx, column_sums(sums).view(weight.shape).to(weight.dtype)


@_temporal_conv_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=memory_format(x)), weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, ctx.num_segments = inputs
    ctx.save_for_backward(x, weight)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_temporal_conv_backward(grad, *ctx.saved_tensors, ctx.num_segments), None


_temporal_conv.register_autograd(_gradients, setup_context=_keep)


@triton.jit
def _temporal_conv_kernel(
    x,
    weight,
    out,
    pixels,
    SEGMENTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LAST: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
):
    """out[t] = w0 * x[t-1] + w1 * x[t] + w2 * x[t+1], for a block of pixels and channels.

    A segment is on its way while the one before it is in use, here and backward.
    """
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    p = tl.program_id(1) * TILE_P + tl.arange(0, TILE_P)
    image = CHANNELS * pixels
    at = tl.program_id(2).to(tl.int64) * SEGMENTS * image
    at += offsets(p, c, pixels, CHANNELS, LAST)
    w0, w1, w2 = _weights(weight, c, CHANNELS)
    mask = _mask(p, c, pixels, CHANNELS, True)
    before = tl.zeros((TILE_P, TILE_C), tl.float32)
    current = tl.load(x + at, mask=mask, other=0).to(tl.float32)
    inside = _mask(p, c, pixels, CHANNELS, SEGMENTS > 1)
    ahead = tl.load(x + at + image, mask=inside, other=0)
    for t in range(SEGMENTS):
        following = ahead.to(tl.float32)
        inside = _mask(p, c, pixels, CHANNELS, t + 2 < SEGMENTS)
        ahead = tl.load(x + at + 2 * image, mask=inside, other=0)
        v = w0 * before + w1 * current + w2 * following
        tl.store(out + at, rounded(v, out.dtype.element_ty), mask=mask)
        before, current = current, following
        at += image


@triton.jit
def _temporal_conv_backward_kernel(
    grad,
    x,
    weight,
    dx,
    sums,
    pixels,
    count,
    STEPS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LAST: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
):
    """dx and sums (programs, C, 3) of the gradients of the weights.

    A program takes ``STEPS`` of all ``count`` blocks of pixels of a clip, one after the other.
    """
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    image = CHANNELS * pixels
    blocks = tl.cdiv(pixels, TILE_P)
    w0, w1, w2 = _weights(weight, c, CHANNELS)
    nothing = tl.zeros((TILE_P, TILE_C), tl.float32)
    dw0, dw1, dw2 = nothing, nothing, nothing
    for step in range(STEPS):
        block = tl.program_id(1) * STEPS + step
        p = block % blocks * TILE_P + tl.arange(0, TILE_P)
        limit = tl.where(block < count, pixels, 0)
        at = (block // blocks).to(tl.int64) * SEGMENTS * image
        at += offsets(p, c, pixels, CHANNELS, LAST)
        mask = _mask(p, c, limit, CHANNELS, True)
        x_before, g_before = nothing, nothing
        x_current = tl.load(x + at, mask=mask, other=0).to(tl.float32)
        g_current = tl.load(grad + at, mask=mask, other=0).to(tl.float32)
        inside = _mask(p, c, limit, CHANNELS, SEGMENTS > 1)
        x_ahead = tl.load(x + at + image, mask=inside, other=0)
        g_ahead = tl.load(grad + at + image, mask=inside, other=0)
        for t in range(SEGMENTS):
            x_following, g_following = x_ahead.to(tl.float32), g_ahead.to(tl.float32)
            inside = _mask(p, c, limit, CHANNELS, t + 2 < SEGMENTS)
            x_ahead = tl.load(x + at + 2 * image, mask=inside, other=0)
            g_ahead = tl.load(grad + at + 2 * image, mask=inside, other=0)
            v = w2 * g_before + w1 * g_current + w0 * g_following
            tl.store(dx + at, rounded(v, dx.dtype.element_ty), mask=mask)
            dw0 += x_before * g_current
            dw1 += x_current * g_current
            dw2 += x_following * g_current
            x_before, x_current = x_current, x_following
            g_before, g_current = g_current, g_following
            at += image
    to = sums + (tl.program_id(1) * CHANNELS + c) * 3
    tl.store(to, tl.sum(dw0, axis=0), mask=c < CHANNELS)
    tl.store(to + 1, tl.sum(dw1, axis=0), mask=c < CHANNELS)
    tl.store(to + 2, tl.sum(dw2, axis=0), mask=c < CHANNELS)


@triton.jit
def _mask(p, c, pixels, CHANNELS: tl.constexpr, there):
    """Which values of a tile there are, of a segment that may not be there."""
    return (p < tl.where(there, pixels, 0))[:, None] & (c < CHANNELS)[None, :]


@triton.jit
def _weights(weight, c, CHANNELS: tl.constexpr):
    """The three weights of channels c, (1, C) each."""
    at = weight + 3 * c[None, :]
    mask = (c < CHANNELS)[None, :]
    w0 = tl.load(at, mask=mask, other=0).to(tl.float32)
    w1 = tl.load(at + 1, mask=mask, other=0).to(tl.float32)
    w2 = tl.load(at + 2, mask=mask, other=0).to(tl.float32)
    return w0, w1, w2
