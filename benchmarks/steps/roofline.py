"""Where a training step stands against what the device can do, operator by operator.

An operator must at least do its multiply-adds at the rate of the device's matrix products, and at
least read its inputs and write its results at the rate of a copy: its ideal time is the larger of
the two. What it takes beyond that is its gap; the gaps of all its calls in a step are added up.
Operators are timed under the profiler, in some steps; the step that their gaps are a part of is
timed without it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.harness.rows import Row
from benchmarks.harness.timing import Clock, quantiles
from tdn.training.precision import Precision

MARK = "roofline "
"""Begins the names of the ranges in the profile."""
GAPS = 3
SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the matrices whose product says what the device can do."""
PRODUCTS = 9
COPIED = {"cuda": 1 << 30, "cpu": 1 << 28}
"""Bytes of the tensor whose copy says what the memory can do: more than caches hold."""
CLOCKS = 2
STEPS = 3
"""That are taken apart."""
MOST = 1.1
"""Steps that their operators may take together under the profiler before gaps are doubted."""


@dataclass
class Part:
    """All calls of one operator in a step."""

    calls: int = 0
    flops: int = 0
    bytes: int = 0
    ideal_ms: float = 0.0
    times: list[float] = field(default_factory=list)
    """Milliseconds in each of the steps."""

    @property
    def ms(self) -> float:
        """The middle one of its times."""
        return statistics.median(self.times)

    @property
    def gap_ms(self) -> float:
        """What it takes beyond the ideal."""
        return self.ms - self.ideal_ms


class Rates:
    """What the device can do: measured once, for all peers of a run.

    Args:
        device: Where.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device.type
        self._products: dict[tuple[torch.dtype, bool], float] = {}

    @cached_property
    def copy(self) -> float:
        """Bytes a second of a copy, read and written: of several measurements the fastest."""
        return 1e9 * max(self._clock().copy for _ in range(CLOCKS))

    def matrix(self, precision: Precision) -> float:
        """Floating-point operations a second of large matrix products.

        Convs may round to TF32 where matrix products by themselves do not: nearly all operations of
        a step are theirs.
        """
        former = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
        try:
            with precision.autocast():
                one = torch.ones(1, 1, device=self._device)
                key = (one @ one).dtype, torch.backends.cudnn.allow_tf32
            if key not in self._products:
                self._products[key] = matrix_rate(self._clock(), precision)
            return self._products[key]
        finally:
            torch.backends.cuda.matmul.allow_tf32 = former

    def _clock(self) -> Clock:
        return Clock(self._device, COPIED[self._device])


def matrix_rate(clock: Clock, precision: Precision) -> float:
    """Floating-point operations a second of large matrix products in a precision."""
    side = SIDE[clock.device]
    with precision.autocast():
        # What autocast would make of the factors; made here, so that no cast is in the time.
        kind = (torch.ones(1, 1, device=clock.device) @ torch.ones(1, 1, device=clock.device)).dtype
    a, b = (torch.randn(side, side, device=clock.device).to(kind) for _ in range(2))

    def product() -> Tensor:
        return a @ b

    # The fastest, which says what the device can do; others may have slowed the rest.
    return 2 * side**3 / (min(clock.time(product) for _ in range(PRODUCTS)) / 1e3)


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
        moved = moved_bytes((args, kwargs, out)) + moved_bytes(_written(func, args))
        part.calls += 1
        part.flops += flops
        part.bytes += moved
        part.ideal_ms += 1e3 * max(flops / self._rate, moved / self._copy)
        return out


def _written(func: Any, args: Sequence[Any]) -> list[Any]:
    """Arguments that an operator reads and also writes; gradients it would only scale."""
    schema = zip(func._schema.arguments, args, strict=False)
    return [
        given
        for known, given in schema
        if known.alias_info and known.alias_info.is_write and known.name != "grads"
    ]


def moved_bytes(values: Any) -> int:
    """Of all tensors among them, each once: read or written.

    What a tensor shows again and again, as one that is expanded does, is moved once.
    """
    leaves = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    tensors = {(leaf.data_ptr(), leaf.nbytes): leaf for leaf in leaves}
    return sum(
        tensor.itemsize
        * math.prod(
            size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride
        )
        for tensor in tensors.values()
    )


def take_apart(
    step: Callable[[], object], device: str, rate: float, copy: float, steps: int = STEPS
) -> dict[str, Part]:
    """The operators of a step, which must have run before, in eager PyTorch.

    Args:
        step: A training step.
        device: "cpu" or "cuda".
        rate: Operations a second of matrix products.
        copy: Bytes a second, read and written.
        steps: How many are timed; all of them call the same operators.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    parts: dict[str, Part] = {}
    for _ in range(steps):
        counted: dict[str, Part] = {}
        with profile(activities=activities) as record, _Ledger(counted, rate, copy):
            step()
        times = marked_ms(record.events(), device)
        for name, part in counted.items():
            parts.setdefault(name, part).times.append(times.get(name, 0.0))
    return parts


def marked_ms(events: Iterable[Any], device: str) -> dict[str, float]:
    """Milliseconds of the operators, by name.

    A profiler tells of each range twice on a GPU: where the program marked it, with the time of the
    kernels that were launched in it, and as a range on the GPU, idle times included.

    Args:
        events: Of the profiler.
        device: Whose time counts.
    """
    found: dict[str, float] = {}
    for event in events:
        if event.name.startswith(MARK) and event.device_type == DeviceType.CPU:
            name = event.name.removeprefix(MARK)
            total = event.device_time_total if device == "cuda" else event.cpu_time_total
            found[name] = found.get(name, 0.0) + total / 1e3
    return found


def roofline_rows(
    place: Row, parts: dict[str, Part], steps: Sequence[float], rate: float, copy: float
) -> list[Row]:
    """A row for the whole step, and one for each of its largest gaps.

    Args:
        place: What was measured.
        parts: The step's operators.
        steps: Milliseconds of the step in several turns.
        rate: Operations a second of matrix products.
        copy: Bytes a second.
    """
    ideal = sum(part.ideal_ms for part in parts.values())
    operators = sum(part.ms for part in parts.values())
    ms, low, high = quantiles(list(steps))
    whole: Row = {
        **place,
        "operator": "all",
        "ms": round(ms, 3),
        "ms_low": round(low, 3),
        "ms_high": round(high, 3),
        "operators_ms": round(operators, 3),
        "ideal_ms": round(ideal, 3),
        "percent_of_ideal": round(100 * ideal / ms, 1),
        "tflops": round(sum(part.flops for part in parts.values()) / 1e12, 4),
        "moved_gb": round(sum(part.bytes for part in parts.values()) / 1e9, 3),
        "matrix_tflops_per_s": round(rate / 1e12, 3),
        "copy_gb_per_s": round(copy / 1e9, 1),
    }
    if operators > MOST * ms:
        whole["profiler"] = f"operators take {operators / ms:.2f} steps: gaps are too large"
    largest = sorted(parts.items(), key=lambda item: -item[1].gap_ms)[:GAPS]
    return [whole, *(_gap_row(place, name, part, ms) for name, part in largest)]


def _gap_row(place: Row, name: str, part: Part, step: float) -> Row:
    _, low, high = quantiles(part.times)
    return {
        **place,
        "operator": name,
        "ms": round(part.ms, 3),
        "ms_low": round(low, 3),
        "ms_high": round(high, 3),
        "ideal_ms": round(part.ideal_ms, 3),
        "gap_percent_of_step": round(100 * part.gap_ms / step, 1),
        "calls": part.calls,
    }
