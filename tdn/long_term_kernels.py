"""L-TDM and the temporal conv behind it by Triton kernels (``tdn.long_term`` says what they do).

    x -> reduce conv -> differences -> half and full conv -> sum -> gate, scale, temporal conv
              \\ statistics      \\________ statistics _/        \\ statistics

The convs are torch's; a box between them is a kernel, and in training one or two more for the
batch statistics of what it normalises: 9 launches, and 3 to update the running statistics, where
eager PyTorch makes 52 operations.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tdn.kernels.backend import uses_triton
from tdn.kernels.branch_sum import branch_sum
from tdn.kernels.gated_mix import expanded_statistics, gated_mix
from tdn.kernels.long_term_difference import differences_of_maps
from tdn.kernels.moments import moments
from tdn.kernels.norm import Norm
from tdn.long_term import DirectionalBatchNorm2d, LongTermTDM
from tdn.temporal_conv import TemporalConv

BRANCHES = 3
"""The difference and two convs of it, whose mean is expanded."""


def mix_over_time(long_term: nn.Module, temporal_conv: nn.Module, x: Tensor) -> Tensor:
    """What a block carries, applied to features (N*T, C, H, W): L-TDM, then the temporal conv.

    Either may be ``nn.Identity``. Where there are kernels, both share their passes over memory;
    then neither module is called as such, unless a hook waits for that.
    """
    if not (is_plain(long_term, LongTermTDM) and has_kernels(cast(LongTermTDM, long_term), x)):
        return temporal_conv(long_term(x))
    module = cast(LongTermTDM, long_term)
    if is_plain(temporal_conv, TemporalConv):
        return long_term_by_kernels(module, x, cast(TemporalConv, temporal_conv).weight)
    return temporal_conv(long_term_by_kernels(module, x, None))


def long_term_by_kernels(module: LongTermTDM, x: Tensor, mix: Tensor | None) -> Tensor:
    """What a module and a temporal conv make of features, on any device that has kernels.

    Args:
        module: weights and statistics; in training mode its running statistics move on.
        x: features (N*T, C, H, W), H and W at least 2.
        mix: weight of the temporal conv (C, 1, 3), or None without one.

    Returns:
        (N*T, C, H, W) in the type and layout of x.
    """
    running = RunningStatistics()
    z = module.reduce(x)
    training = module.reduce_norm.training
    batch = moments([z.detach()], 1)[0] if training else None
    d, pooled = differences_of_maps(
        z,
        running.norm(module.reduce_norm, batch),
        module.smooth.weight,
        module.num_segments,
        training,
    )
    half, full = module.half_conv(pooled), module.full_conv(d)
    training, with_moments = module.full_norm.training, module.expand_norm.training
    batches = moments([half.detach(), full.detach()], 2) if training else (None, None)
    s, s_mean, s_covariance = branch_sum(
        d,
        half,
        full,
        running.norm(module.half_norm, batches[0]),
        running.norm(module.full_norm, batches[1]),
        training,
        with_moments,
    )
    expand, batch = module.expand.weight, None
    if with_moments:
        positions = s.numel() // s.shape[1] // 2
        batch = expanded_statistics(s_mean, s_covariance, expand.detach(), positions, 1 / BRANCHES)
    out = gated_mix(
        x,
        s,
        (s_mean, s_covariance) if with_moments else None,
        running.norm(module.expand_norm, batch),
        expand,
        mix,
        module.num_segments,
        1 / BRANCHES,
    )
    running.update()
    return out


class RunningStatistics:
    """Updates of batch norms, gathered and then made in three launches for all of them."""

    def __init__(self) -> None:
        self.norms: list[nn.BatchNorm2d] = []
        self.batches: list[Tensor] = []

    def norm(self, norm: nn.BatchNorm2d, batch: Tensor | None) -> Norm:
        """A batch norm with the statistics that it normalises by.

        Args:
            norm: batch norm.
            batch: float32 (3, directions, C), mean, variance and unbiased variance of the batch,
                noted for the update; None normalises by running statistics.

        Returns:
            With a row for each direction of the batch, if there are two.
        """
        if batch is None:
            return Norm(*self._kept(norm), norm.weight, norm.bias, norm.eps)
        self.norms.append(norm)
        self.batches.append(batch)
        mean, variance = batch[:2].squeeze(1)
        return Norm(mean, variance, norm.weight, norm.bias, norm.eps)

    @staticmethod
    def _kept(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        """Running mean and variance, which all batch norms here have."""
        return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)

    def update(self) -> None:
        """Move the running statistics on, one direction after the other."""
        if not self.norms:
            return
        with torch.no_grad():
            for direction in range(max(batch.shape[1] for batch in self.batches)):
                kept: list[Tensor] = []
                found: list[Tensor] = []
                for norm, batch in zip(self.norms, self.batches, strict=True):
                    if direction < batch.shape[1]:
                        kept += self._kept(norm)
                        found += [batch[0, direction], batch[2, direction]]
                torch._foreach_lerp_(kept, found, cast(float, self.norms[0].momentum))
            counts = [cast(Tensor, norm.num_batches_tracked) for norm in self.norms]
            torch._foreach_add_(counts, [batch.shape[1] for batch in self.batches])


def has_kernels(module: LongTermTDM, x: Tensor) -> bool:
    """Whether a whole L-TDM runs on x by kernels, in the state it is in.

    All states that training and evaluation reach are known to them: both branches normalise by
    their batch or neither, and all batch norms move on alike, in float32. Others run in eager
    PyTorch, as do modules that were replaced by others or that a hook watches.
    """
    if not uses_triton(x):
        return False
    shared = (module.half_norm, module.full_norm, module.expand_norm)
    norms = (module.reduce_norm, *shared)
    return (
        all(is_plain(norm, DirectionalBatchNorm2d) for norm in shared)
        and is_plain(module.reduce_norm, nn.BatchNorm2d)
        and all(is_plain(conv, nn.Conv2d) for conv in (module.smooth, module.expand))
        and all(norm.running_mean is not None for norm in norms)
        and {norm.running_mean.dtype for norm in norms} == {torch.float32}  # type: ignore[union-attr]
        and len({norm.momentum for norm in norms}) == 1
        and norms[0].momentum is not None
        and module.half_norm.training == module.full_norm.training
    )


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of just that kind, and nobody waits for it to be called."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
