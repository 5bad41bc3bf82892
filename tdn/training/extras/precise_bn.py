"""Running statistics of batch norm as the moments of many clips: ``training.precise_bn``.

What a batch norm has gathered while training is of weights that have changed since, and mostly of
the last few batches. Here the weights stand still: the statistics of every batch norm become those
of all its inputs over a number of training clips (Wu and Johnson 2021, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tdn.training.precision import Precision
from tdn.training.processes.distributed import Processes

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


@torch.no_grad()
def estimate_statistics(
    model: nn.Module, batches: Iterable[Batch], precision: Precision, processes: Processes
) -> None:
    """Replace the running statistics of a network; all processes must call it.

    Frozen batch norms keep theirs. The network is left in training mode.

    Args:
        model: The network, on the processes' device.
        batches: This process's clips, equally many batches on each.
        precision: What the network computes in.
        processes: Those that estimate together.
    """
    model.train()
    sums = {
        norm: _Sums(norm)
        for norm in model.modules()
        if isinstance(norm, _BatchNorm) and norm.training
    }
    hooks = [norm.register_forward_pre_hook(found.add) for norm, found in sums.items()]
    try:
        for batch in batches:
            with precision.autocast():
                model(batch.clips.to(processes.device, non_blocking=True))
    finally:
        for hook in hooks:
            hook.remove()
    for found in sums.values():
        found.replace(processes)


class _Sums:
    """Sums over what a batch norm is given, in double precision."""

    def __init__(self, norm: _BatchNorm) -> None:
        self._norm = norm
        self._batches = norm.num_batches_tracked.clone()  # type: ignore[union-attr]
        shape = (3, norm.num_features)
        self._sums = torch.zeros(shape, dtype=torch.float64, device=norm.running_mean.device)  # type: ignore[union-attr]

    def add(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Count an input (M, C, ...): values, their sum and the sum of their squares."""
        x: Tensor = inputs[0].float()
        variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        mean, variance = mean.double(), variance.double()
        count = x.numel() // x.shape[1]
        ones = torch.ones_like(mean)
        self._sums += count * torch.stack((ones, mean, variance + mean.square()))

    def replace(self, processes: Processes) -> None:
        """Make the moments of all inputs, of all processes, the running statistics."""
        count, total, squares = processes.sum(self._sums)
        mean = total / count
        variance = squares / count - mean.square()
        self._norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        self._norm.running_var.copy_(variance * (count / (count - 1)))  # type: ignore[union-attr]
        self._norm.num_batches_tracked.copy_(self._batches)  # type: ignore[union-attr]
