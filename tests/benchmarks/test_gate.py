"""The gate of the continuous integration: no loss of speed, and losses on purpose are seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest import mock

import pytest
import torch

from benchmarks import gate
from benchmarks.harness import yardsticks
from benchmarks.harness.rows import Row
from tdn import long_term
from tdn.kernels import short_term_stem
from tdn.long_term import LongTermTDM
from tdn.long_term_kernels import mix_over_time
from tdn.pipelines.decoding import fetching
from tdn.temporal_conv import TemporalConv
from tdn.training.step import TrainingStep


@pytest.mark.parametrize("part", gate.PARTS)
def test_nothing_became_slower(part):
    assert gate.verdict(part)[0] == ""


def twice(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does its work two times over."""

    @wraps(work)
    def slow(*given, **named):
        work(*given, **named)
        return work(*given, **named)

    return slow


def as_the_mean_of_three(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same result at three times the price, forward and backward."""

    @wraps(work)
    def slow(*given):
        return (work(*given) + work(*given) + work(*given)) / 3

    return slow


def copying_the_state(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update that keeps what was before and after it, as if somebody might want that."""

    @wraps(update)
    def slow(step, *given):
        def state():
            return copy.deepcopy((step.optimizer.state_dict(), step._parameters))

        before, norm = state(), update(step, *given)
        step.kept = before, state()
        return norm

    return slow


def test_the_page_has_the_bound_of_each_part():
    text = (gate.ROOT / "docs" / "benchmarks.md").read_text()
    for part, expected in gate.EXPECTED.items():
        assert f"{part} {(1 + gate.TOLERANCE[part]) / expected - 1:.0%}".replace("%", " %") in text


@pytest.mark.parametrize(
    ("part", "place", "name", "slower"),
    [
        ("short-term stem", short_term_stem, "frame_differences", twice),
        ("block", long_term, "excitation", as_the_mean_of_three),
        ("loader", fetching, "decode_frames", twice),
        ("trainer", TrainingStep, "_update", copying_the_state),
    ],
    ids=gate.PARTS,
)
def test_a_loss_is_caught(part, place, name, slower, monkeypatch):
    attempts = range(1, gate.ATTEMPTS + 1)
    monkeypatch.setattr(gate, "ATTEMPTS", 1)
    with mock.patch.object(place, name, slower(getattr(place, name))):
        assert any(gate.verdict(part, n * gate.ROUNDS)[0] == "worse" for n in attempts)


def test_a_loss_fails_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gate, "PARTS", {"block": gate.block})
    monkeypatch.setattr(gate, "measure", lambda *_: row(0.6, 0.02))
    assert gate.main(["--output", str(tmp_path / "rows.jsonl")]) == 1
    assert "worse" in capsys.readouterr().out
    monkeypatch.setattr(gate, "measure", lambda *_: row(1.0, 0.02))
    assert gate.main([]) == 0


def test_yardsticks_do_what_ours_does():
    clips = torch.randint(0, 256, (2, 3, 5, 8, 10, 3), dtype=torch.uint8)
    torch.testing.assert_close(yardsticks.stem(clips), short_term_stem.short_term_stem(clips))

    long_term, mix, yardstick = LongTermTDM(32, 4), TemporalConv(32, 4), yardsticks.Block(32, 4)
    for name in ("reduce", "smooth", "expand", "half_conv", "full_conv"):
        setattr(yardstick, name, getattr(long_term, name))
    yardstick.mix = mix.weight
    x = torch.randn(8, 32, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    results = yardstick(x), mix_over_time(long_term, mix, x)
    torch.testing.assert_close(*results)
    grad = torch.randn_like(x)
    leaves = x, mix.weight, long_term.reduce.weight, long_term.half_conv.weight
    torch.testing.assert_close(*(torch.autograd.grad(y, leaves, grad) for y in results))


def row(ratio: float, noise: float) -> Row:
    values = {"cpu_ratio": ratio, "control": 1.0}
    errors = {f"{name}_error": noise for name in values}
    return {"part": "block", "expected": 1.0, **values, **errors}


@pytest.mark.parametrize(
    ("rows", "said", "measured"),
    [
        ([row(0.97, 0.02)], "", 1),
        ([row(1.5, 0.02)], "", 1),
        ([row(0.6, 0.02), row(0.95, 0.02)], "", 2),
        ([row(0.6, 0.02)] * 3, "worse", 3),
        ([row(0.95, 0.3)] * 3, "too noisy", 3),
    ],
)
def test_a_part_has_attempts_and_noise_is_no_excuse(rows, said, measured, monkeypatch):
    asked = []
    left = iter(rows)
    monkeypatch.setattr(gate, "measure", lambda _, rounds: asked.append(rounds) or next(left))
    assert gate.verdict("block", 5)[0] == said
    assert asked == [5, 10, 15][:measured]
