"""What this product is meant to reach, and whether results show that it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.clips.data import JPEG, MEMORY, SHORT_GOP
from benchmarks.harness.rows import Result
from benchmarks.harness.timing import MEDIAN

Results = Sequence[Result]
PLAIN = "released code"
COMPILED = "released code, AMP, channels_last, torch.compile"
OURS = "ours"
PIXELS = {True: 224, False: 112}
"""Of a step on a GPU, and of one on a CPU."""
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """A number to reach."""

    name: str
    bound: float
    at_least: bool
    """Else at most."""
    unit: str
    measured: Callable[[Results], float | None]
    """None if it was not."""
    noise: Callable[[Results], float] = lambda _: 0.0
    """By how much a measurement may be wrong."""

    @property
    def text(self) -> str:
        """The bound in words."""
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}{self.unit}"


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it."""

    name: str
    target: str
    measured: str
    verdict: str
    """met, MISSED by how much, not measured, or not decided for noise."""


def judge(results: Results) -> list[Verdict]:
    """A verdict on each target; of several GPUs, or CPUs, the last one that trained counts."""
    results = [
        result
        for on_gpu in (True, False)
        for result in _of_last_machine([r for r in results if ("cuda" in r.where) == on_gpu])
    ]
    return [_verdict(target, target.measured(results), target.noise(results)) for target in TARGETS]


def _of_last_machine(results: Results) -> Results:
    parts = "training", "from_files"
    machines = [result.machine for result in results if result.benchmark in parts]
    return [result for result in results if result.machine in machines[-1:]]


def _verdict(target: Target, value: float | None, noise: float) -> Verdict:
    if value is None:
        return Verdict(target.name, target.text, "-", NOT_MEASURED)
    short = target.bound - value if target.at_least else value - target.bound
    verdict = "met" if short <= 0 else f"MISSED by {short:.2f}{target.unit}"
    if abs(short) < noise:
        verdict = f"not decided, noise is {noise:.2f}{target.unit}"
    return Verdict(target.name, target.text, f"{value:.2f}{target.unit}", verdict)


def _steps(results: Results, gpu: bool) -> Iterator[Result]:
    """Training steps of ResNet-50 with 8 segments that were measured, on a GPU or on a CPU.

    Of the size that the target is of: pixels and clips of a step on a CPU are fewer.
    """
    for result in results:
        case = result.case
        if (
            result.benchmark == "training"
            and (case["model"], case["segments"], case["pixels"])
            == ("tdn_resnet50", 8, PIXELS[gpu])
            and ("cuda" in result.where) == gpu
        ):
            yield result


def _values(results: Results, gpu: bool, peer: str, name: str) -> list[float]:
    return [
        result.values[name]
        for result in _steps(results, gpu)
        if result.case["peer"] == peer and name in result.values
    ]


def _fastest(results: Results) -> float | None:
    """Ours against the released code on a GPU, in bf16, compiled or not."""
    found = [
        result.values["ratio"]
        for result in _steps(results, gpu=True)
        if result.case["peer"].startswith(OURS)
        and result.case["precision"] == "bf16"
        and "ratio" in result.values
    ]
    return max(found, default=None)


def _against_compiled(results: Results) -> float | None:
    mine, theirs = _fastest(results), _values(results, True, COMPILED, "ratio")
    return mine / theirs[-1] if mine is not None and theirs else None


def _memory(results: Results) -> float | None:
    mine, theirs = (_values(results, True, peer, "peak_mb") for peer in (OURS, PLAIN))
    return mine[-1] / theirs[-1] if mine and theirs else None


def _on_cpu(results: Results) -> float | None:
    found = _values(results, False, OURS, "ratio")
    return found[-1] if found else None


def _noise_on_cpu(results: Results) -> float:
    """Standard error of the median ratio, from its 20 % and 80 % quantiles."""
    low, high, rounds = (
        _values(results, False, OURS, name)[-1:] for name in ("ratio_low", "ratio_high", "rounds")
    )
    return MEDIAN * (high[0] - low[0]) / 1.683 / math.sqrt(rounds[0]) if low and rounds else 0.0


def _stall(source: str) -> Callable[[Results], float | None]:
    def measured(results: Results) -> float | None:
        found = [
            result.values["stall_percent"]
            for result in results
            if result.benchmark == "from_files"
            and result.case["source"] == source
            and "cuda" in result.where
            and "stall_percent" in result.values
        ]
        return max(found, default=None)

    return measured


def _control(results: Results) -> float:
    """How large a stall seems to be where there is none."""
    return max(
        (
            abs(result.values["stall_percent"])
            for result in results
            if result.benchmark == "from_files"
            and result.case["source"] == MEMORY
            and "cuda" in result.where
            and "stall_percent" in result.values
        ),
        default=0.0,
    )


TARGETS = (
    Target("GPU: step of R50, T=8, against the released code", 3, True, "x", _fastest),
    Target("GPU: the same against AMP, torch.compile", 1.5, True, "x", _against_compiled),
    Target("GPU: peak memory against the released code", 0.6, False, "x", _memory),
    Target("GPU: stall, folders of JPEG", 3, False, " %", _stall(JPEG), _control),
    Target("GPU: stall, video of short GOPs", 3, False, " %", _stall(SHORT_GOP), _control),
    Target(
        "CPU: step of R50, T=8, against the released code", 1.3, True, "x", _on_cpu, _noise_on_cpu
    ),
)
