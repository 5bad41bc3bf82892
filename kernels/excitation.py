"""Excitation: features are strengthened or weakened by how they change over time.

With y the excitation map of a direction (+ towards the next segment, - towards the previous one)
and q = sigmoid(y):

    out = x + x * (gate+ + gate-) / 2,    gate = q - 1/2
        = x * m,                          m = 1/2 + (q+ + q-) / 2

The gradients, with D that of the result:

    dx  = D * m
    dy+ = D * x * q+ * (1 - q+) / 2       and the same for -

Source: paper section 3.3; the 1/2 are those of the released code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def excitation(x: Tensor, y_next: Tensor, y_previous: Tensor) -> Tensor:
    """Scale features by the gates of both directions.

    Args:
        x: features (N*T, C, H, W).
        y_next: excitation maps y+ of the same shape and type.
        y_previous: excitation maps y- of the same shape and type.

    Returns:
        (N*T, C, H, W) in the type and layout of x.
    """
    return _Excitation.apply(x, y_next, y_previous)


class _Excitation(torch.autograd.Function):
    """Keeps x, q+ and q-; plain autograd also keeps m, and makes more passes backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y_next: Tensor, y_previous: Tensor) -> Tensor:
        q_next, q_previous = torch.sigmoid(y_next), torch.sigmoid(y_previous)
        ctx.save_for_backward(x, q_next, q_previous)
        return x * _scale(q_next, q_previous)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, q_next, q_previous = ctx.saved_tensors
        half = (grad * x).mul_(0.5)
        dx = grad * _scale(q_next, q_previous)
        dy_next, dy_previous = (
            torch.ops.aten.sigmoid_backward(half, q) for q in (q_next, q_previous)
        )
        return dx, dy_next, dy_previous


def _scale(q_next: Tensor, q_previous: Tensor) -> Tensor:
    """m = 1/2 + (q+ + q-) / 2."""
    return (q_next + q_previous).add_(1).mul_(0.5)
