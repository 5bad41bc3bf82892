"""Temporal conv: a depthwise conv over the segments of a clip, zero padded.

With w0, w1, w2 a channel's three weights and x zero outside the clip:

    out[t] = w0 * x[t-1] + w1 * x[t] + w2 * x[t+1]

The gradients, with D that of the result and zero outside the clip:

    dx[t] = w2 * D[t-1] + w1 * D[t] + w0 * D[t+1]
    dw0 = sum of x[t-1] * D[t],    dw1 = sum of x[t] * D[t],    dw2 = sum of x[t+1] * D[t]

Neighbours in time lie a whole image apart in memory, so three multiply-adds on shifted views
need no copy; a library conv over time first has to permute the tensor there and back.

Source: the released code (a learnable form of the temporal shift of TSM, ICCV 2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tdn.kernels.layout import memory_format


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
    return _TemporalConv.apply(x, weight, num_segments)


class _TemporalConv(torch.autograd.Function):
    """The mirrored conv gives the gradient, where autograd would copy it for every shifted view."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.num_segments = num_segments
        return _convolve(x, weight, num_segments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        dx = _convolve(grad, weight.flip(-1), ctx.num_segments)
        x, grad = (v.unflatten(0, (-1, ctx.num_segments)) for v in (x, grad))
        pairs = ((x[:, :-1], grad[:, 1:]), (x, grad), (x[:, 1:], grad[:, :-1]))
        sums = [(v * g).sum((0, 1, 3, 4), dtype=weight.dtype) for v, g in pairs]
        return dx, torch.stack(sums, dim=-1).view_as(weight), None


def _convolve(x: Tensor, weight: Tensor, num_segments: int) -> Tensor:
    """The formula; each weight is laid out as an image, which keeps the inner loops long."""
    images = torch.empty(
        (3, *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=memory_format(x)
    )
    previous, current, following = images.copy_(weight.permute(2, 0, 1).unsqueeze(-1))
    out = x * current
    clips, result = (v.unflatten(0, (-1, num_segments)) for v in (x, out))
    result[:, 1:].addcmul_(clips[:, :-1], previous)
    result[:, :-1].addcmul_(clips[:, 1:], following)
    return out
