"""Long-term difference: how the features of a segment differ from those of its neighbours.

With f the features of the segments and g the same features smoothed by a depthwise conv:

    next[t]     = g[t+1] - f[t]    and 0 at the last segment
    previous[t] = g[t-1] - f[t]    and 0 at the first segment

The gradients, with N and P those of the two results, zero where the results are:

    df[t] = -(N[t] + P[t])
    dg[t] = N[t-1] + P[t+1]

``long_term_differences`` starts before the batch norm that makes f and ends after the pooling of
the differences: ``long_term_difference_triton`` has it as one launch.

Source: paper section 3.3; the sign is that of the released code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tdn.kernels.backend import uses_triton
from tdn.kernels.layout import memory_format
from tdn.kernels.long_term_difference_triton import differences_of_maps


def long_term_differences(
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
    """Normalise maps, smooth them, and take the differences of both directions.

    Args:
        z: maps (N*T, R, H, W), H and W at least 2: float16, bfloat16 or float32.
        mean: of z (R,), float32.
        variance: of z (R,), float32, biased.
        weight: of the batch norm (R,), of any floating-point type, as are bias and smooth.
        bias: of the batch norm (R,).
        eps: of the batch norm.
        smooth: weight of the depthwise 3x3 conv (R, 1, 3, 3).
        num_segments: T.
        batch_statistics: mean and variance are those of z, as in training, and the gradient of z
            has the part through them; otherwise they are constants.

    Returns:
        The differences (2*N*T, R, H, W) in the type and layout of z, to the next segment of all
        images, then to the previous one; and their 2x2 averages (2*N*T, R, H // 2, W // 2).
    """
    function: Any = differences_of_maps if uses_triton(z) else reference
    return function(z, mean, variance, weight, bias, eps, smooth, num_segments, batch_statistics)


def reference(
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
    """What ``long_term_differences`` computes, in eager PyTorch."""
    if batch_statistics:
        f = F.batch_norm(z, None, None, weight, bias, training=True, eps=eps)
    else:
        f = F.batch_norm(z, mean, variance, weight, bias, eps=eps)
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
