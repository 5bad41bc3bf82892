"""Where a training step stands against what the device can do, operator by operator.

An operator must at least do its multiply-adds at the rate of the device's matrix products, and at
least read its inputs and write its results at the rate of a copy: its ideal time is the larger of
the two. What it takes beyond that is its gap; the gaps of all its calls in a step are added up.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.rows import Row
from benchmarks.timing import Clock
from tdn.training.precision import Precision

MARK = "roofline "
"""Begins the names of the ranges in the profile."""
GAPS = 3
SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the matrices whose product says what the device can do."""
PRODUCTS = 9


@dataclass
class Part:
    """All calls of one operator in a step."""

    calls: int = 0
    flops: int = 0
    bytes: int = 0
    ideal_ms: float = 0.0
    ms: float = 0.0

    @property
    def gap_ms(self) -> float:
        """What it takes beyond the ideal."""
        return self.ms - self.ideal_ms


def matrix_rate(clock: Clock, precision: Precision) -> float:
    """Floating-point operations a second of large matrix products."""
    side = SIDE[clock.device]
    a, b = (torch.randn(side, side, device=clock.device) for _ in range(2))

    def product() -> Tensor:
        with precision.autocast():
            return a @ b

    times = [clock.time(product) for _ in range(PRODUCTS)]
    return 2 * side**3 / (statistics.median(times[2:]) / 1e3)


class _Ledger(TorchDispatchMode):
    """Notes what every operator has to compute and to move, and marks it in the profile."""

    def __init__(self, parts: dict[str, Part], rate: float, copy: float) -> None:
        super().__init__()
        self._parts = parts
        self._rate = rate
        self._copy = copy

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        del types
        kwargs = kwargs or {}
        if func.is_view:
            return func(*args, **kwargs)
        name = func.overloadpacket._qualified_op_name.replace("::", ".")
        with record_function(f"{MARK}{name}"):
            out = func(*args, **kwargs)
        part = self._parts.setdefault(name, Part())
        flops = 0
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            flops = formula(*args, **kwargs, out_val=out)
        moved = _moved_bytes((args, kwargs, out))
        part.calls += 1
        part.flops += flops
        part.bytes += moved
        part.ideal_ms += 1e3 * max(flops / self._rate, moved / self._copy)
        return out


def _moved_bytes(values: Any) -> int:
    """Of all tensors among them, each once: read or written."""
    tensors = {leaf.data_ptr(): leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
    return sum(tensor.nbytes for tensor in tensors.values())


def take_apart(
    step: Callable[[], object], device: str, rate: float, copy: float
) -> dict[str, Part]:
    """The operators of a step, which must have run before, in eager PyTorch.

    Args:
        step: A training step.
        device: "cpu" or "cuda".
        rate: Operations a second of matrix products.
        copy: Bytes a second, read and written.
    """
    parts: dict[str, Part] = {}
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=activities) as record, _Ledger(parts, rate, copy):
        step()
    for event in record.key_averages():
        if event.key.startswith(MARK):
            total = event.device_time_total if device == "cuda" else event.cpu_time_total
            parts[event.key.removeprefix(MARK)].ms = total / 1e3
    return parts


def roofline_rows(place: Row, parts: dict[str, Part], rate: float, copy: float) -> list[Row]:
    """A row for the whole step, and one for each of its largest gaps."""
    ms, ideal = (sum(getattr(part, name) for part in parts.values()) for name in ("ms", "ideal_ms"))
    whole: Row = {
        **place,
        "operator": "all",
        "ms": round(ms, 3),
        "ideal_ms": round(ideal, 3),
        "percent_of_ideal": round(100 * ideal / ms, 1),
        "tflops": round(sum(part.flops for part in parts.values()) / 1e12, 4),
        "moved_gb": round(sum(part.bytes for part in parts.values()) / 1e9, 3),
        "matrix_tflops_per_s": round(rate / 1e12, 3),
        "copy_gb_per_s": round(copy / 1e9, 1),
    }
    largest = sorted(parts.items(), key=lambda item: -item[1].gap_ms)[:GAPS]
    return [
        whole,
        *(
            {
                **place,
                "operator": name,
                "ms": round(part.ms, 3),
                "ideal_ms": round(part.ideal_ms, 3),
                "gap_percent_of_step": round(100 * part.gap_ms / ms, 1),
                "calls": part.calls,
            }
            for name, part in largest
        ),
    ]
