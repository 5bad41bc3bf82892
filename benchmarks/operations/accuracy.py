"""How far a contestant is from eager PyTorch in float64 on the same values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.operations.catalogue import Operation, Size
from benchmarks.operations.contestants import Contestant, Peer, new_operation, new_sample

TOLERANCES = {"result": 0.01, "gradient": 0.03}
"""Largest relative norm of a difference. Peers round to bfloat16 after each of many steps; a wrong
sign, direction or statistic is off by far more."""


@dataclass(frozen=True)
class Expected:
    """What float64 gives for the first sample."""

    results: tuple[Tensor, ...]
    gradients: dict[str, tuple[Tensor, ...]]
    """By part: an input, or a module with its parameters."""


@dataclass(frozen=True)
class Accuracy:
    """Relative norms of differences."""

    result: float
    """The largest of the results'."""
    gradient: float | None
    """The largest of the parts', None without gradients."""
    part: str | None
    """Whose that is."""

    @property
    def is_right(self) -> bool:
        """Whether all are within the tolerances; NaN is not."""
        within = self.result <= TOLERANCES["result"]
        return within and (self.gradient is None or self.gradient <= TOLERANCES["gradient"])


def expected(operation: type[Operation], size: Size, device: str) -> Expected:
    """Run the reference in float64."""
    peer = Peer("float64", dtype=torch.float64, layout=torch.contiguous_format)
    made = new_operation(operation, size, peer.dtype, peer.layout, device)
    sample = new_sample(made, peer.layout, device, seed=0)
    with torch.backends.cudnn.flags(enabled=True):  # no search for one run
        results, gradients = Contestant(peer, made, [sample]).results()
    return Expected(tuple(v.detach() for v in results), by_part(made, gradients))


def accuracy(contestant: Contestant, right: Expected) -> Accuracy:
    """Compare a contestant's first sample, with memory that held NaN before."""
    for tensors in contestant.results():
        for v in tensors:
            v.detach().fill_(torch.nan)
    del tensors, v
    results, gradients = contestant.results()
    off = [distance((found,), (of,)) for found, of in zip(results, right.results, strict=True)]
    parts = {
        name: distance(found, right.gradients[name])
        for name, found in by_part(contestant.operation, gradients).items()
    }
    worst = max(parts, key=lambda name: parts[name], default=None)
    return Accuracy(max(off), None if worst is None else parts[worst], worst)


def by_part(operation: Operation, gradients: tuple[Tensor, ...]) -> dict[str, tuple[Tensor, ...]]:
    """Gradients of every input and of every module.

    A module's parameters are judged together: the bias of a batch norm in front of another has
    no effect, so that its gradient is rounding and would be off by all of it.
    """
    if not gradients:
        return {}
    names = [name.rpartition(".")[0] for name, _ in operation.named_parameters()]
    parts: dict[str, tuple[Tensor, ...]] = {}
    for name, gradient in zip((*operation.differentiable, *names), gradients, strict=True):
        parts[name] = (*parts.get(name, ()), gradient)
    return parts


def distance(found: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> float:
    """Norm of the difference over the norm of what is right; never NaN."""
    off = torch.stack([(f.double() - r).norm() for f, r in zip(found, right, strict=True)]).norm()
    relative = (off / torch.stack([r.norm() for r in right]).norm()).item()
    return relative if math.isfinite(relative) else math.inf
