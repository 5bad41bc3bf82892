"""The gate of the continuous integration: no loss of speed, and losses on purpose are seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks import gate
from benchmarks.compare import compare
from benchmarks.rows import Result, read_results, results_of
from tdn import long_term
from tdn.kernels import short_term_stem
from tdn.pipelines import fetching
from tdn.training.step import TrainingStep

BASELINE = Path(gate.__file__).parent / "results" / "gate-cpu.jsonl"
TOLERANCE = {"short-term stem": 0.25}
"""By part; 0.12 of others."""
ROUNDS = 5
ATTEMPTS = 3
"""A machine that does much else at the moment may look slower once."""


def measured(part: str) -> list[Result]:
    return results_of("gate", ("part",), [gate.measure(part, ROUNDS)], {})


def got_worse(part: str) -> bool:
    (change,) = compare(read_results(BASELINE), measured(part), TOLERANCE.get(part, 0.12))
    assert change.name == "cpu_ratio"
    return change.verdict == "worse"


@pytest.mark.parametrize("part", gate.PARTS)
def test_nothing_became_slower(part):
    assert not all(got_worse(part) for _ in range(ATTEMPTS))


def twice(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does its work two times over."""

    @wraps(work)
    def slow(*given, **named):
        work(*given, **named)
        return work(*given, **named)

    return slow


def as_the_mean_of_two(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same result at twice the price, forward and backward."""

    @wraps(work)
    def slow(*given):
        return (work(*given) + work(*given)) / 2

    return slow


def copying_the_weights(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update that keeps the weights before it, as if somebody might want them."""

    @wraps(update)
    def slow(step, *given):
        step.kept = copy.deepcopy((step.optimizer.state_dict(), step._parameters))
        return update(step, *given)

    return slow


@pytest.mark.parametrize(
    ("part", "place", "name", "slower"),
    [
        ("short-term stem", short_term_stem, "frame_differences", twice),
        ("block", long_term, "excitation", as_the_mean_of_two),
        ("loader", fetching, "decode_frames", twice),
        ("trainer", TrainingStep, "_update", copying_the_weights),
    ],
    ids=gate.PARTS,
)
def test_a_loss_is_caught(part, place, name, slower):
    with mock.patch.object(place, name, slower(getattr(place, name))):
        assert got_worse(part)
