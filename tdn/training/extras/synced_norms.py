"""Batch norm over the clips of all processes: ``training.sync_bn``.

With mean m_i and variance v_i of the values on process i, all processes together have

    m = mean of m_i,    v = mean of v_i + (m_i - m)^2

as their batches are equally large (Chan et al. 1983 for parts of one size). The gradient g of a
result w x^ + b, x^ = (x - m) / s, comes back as

    gradient of x = w / s (g - mean of g - x^ mean of g x^)

where the means are over all processes too. The gradients of w and b stay each process's own: they
are averaged with all others. torch's SyncBatchNorm does the same, but not on a CPU, and not for
batch norms that normalise two directions one after the other.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from tdn.kernels.moments import moments


def synchronise_norms(model: nn.Module) -> None:
    """Make the batch norms of a network take their statistics from all processes.

    They remain the objects they are, with parameters, buffers and names. Frozen ones stay as they
    are, and so do all in evaluation mode. L-TDMs with such a batch norm run in eager PyTorch: their
    kernels take the statistics of what they have.

    Args:
        model: The network, in training mode.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training:
            # A subclass of the module's own, as torch's fully_shard does it: whatever a kind of
            # batch norm adds, such as a second direction, comes first and ends here.
            module.__class__ = _synced(type(module))  # type: ignore[arg-type, assignment]


@functools.cache
def _synced(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Synced{kind.__name__}", (kind, SyncedBatchNorm), {})


class SyncedBatchNorm(_BatchNorm):
    """Batch norm of (M, C, ...) by the statistics of all processes, which must all call it."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in evaluation mode by the running statistics, without communication."""
        if not self.training:
            return super().forward(x)
        count, mean, variance = _joined(x)
        self._move_on(mean, variance * (count / (count - 1)))
        return cast(
            Tensor,
            _Normalisation.apply(x, self.weight, self.bias, mean, variance, self.eps, count),
        )

    @torch.no_grad()
    def _move_on(self, mean: Tensor, unbiased: Tensor) -> None:
        """Take a batch into the running statistics."""
        kept = [cast(Tensor, self.running_mean), cast(Tensor, self.running_var)]
        torch._foreach_lerp_(kept, [mean, unbiased], cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)


def _joined(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Values of a channel on all processes, their mean and biased variance, float32 (C,) each."""
    maps = x if x.dim() == 4 else x.reshape(*x.shape[:2], -1, 1)
    mine = moments([maps], directions=1)[0, :2, 0]
    everyone = mine.new_zeros((dist.get_world_size(), *mine.shape))
    everyone[dist.get_rank()] = mine
    dist.all_reduce(everyone)  # a gathering that needs one buffer
    means, variances = everyone.unbind(1)
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    return x.numel() // x.shape[1] * len(means), mean, variance


class _Normalisation(torch.autograd.Function):
    """Affine batch norm by statistics that depend on the values of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.count = eps, count
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if the statistics were constants; then what comes through them.
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        sums = torch.stack((db, dw))
        dist.all_reduce(sums)
        scale = (variance + ctx.eps).rsqrt()
        shift, slope = sums / ctx.count * (weight * scale)
        per_channel = (-1, *(1,) * (x.dim() - 2))
        slope, mean = (slope * scale).view(per_channel), mean.view(per_channel)
        dx = dx - torch.addcmul(shift.view(per_channel), x - mean, slope)
        return dx.to(x.dtype), dw, db, None, None, None, None
