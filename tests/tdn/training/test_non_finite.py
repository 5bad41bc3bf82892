"""Steps whose loss or gradient is not a finite number: the run stops, or leaves them out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tdn.errors import UserError
from tests.tdn import synthetic
from tests.tdn.synthetic import TinyNetwork, make_batch
from tests.tdn.training.runs import ask_to_stop, assert_same, events, run, tensors
from tests.tdn.training.test_resuming import record
from tests.tdn.training.test_step import make_step

SKIP = {"training__non_finite": "skip"}


def state_of(model: nn.Module, step) -> list[torch.Tensor]:
    momenta = [
        value for state in step.optimizer.state_dict()["state"].values() for value in state.values()
    ]
    return [tensor.clone() for tensor in (*model.state_dict().values(), *momenta)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
@pytest.mark.parametrize("before", [0, 3])
def test_a_step_that_is_left_out_changes_nothing(name, precision, before):
    """Not even the very first; and those after it are as if it had not been."""
    torch.manual_seed(0)
    model = TinyNetwork("tiny_bn", 6, 0.0, 16)
    other = copy.deepcopy(model)
    step, plain = (
        make_step(m, precision, optimizer__name=name, **policy)
        for m, policy in ((model, SKIP), (other, {}))
    )
    if precision == "fp16":  # the first scale is too large: what it leaves out is another matter
        step.scaler._init_scale = plain.scaler._init_scale = 64.0
    good = [make_batch(np.arange(8) + 8 * number) for number in range(5)]
    for number in range(before):
        step([good[number]], number)
        plain([good[number]], number)
    known = state_of(model, step)
    bad = good[4]._replace(clips=good[4].clips.float() * float("nan"))
    result = step([bad], before)
    assert not result.loss.isfinite()
    if before or name == "sgd":
        assert all(map(torch.equal, known, state_of(model, step)))
    if precision == "fp16":  # whose scale is halved
        plain.scaler._init_scale = 32.0
        if before:
            plain.scaler.update(32.0)
    for number in (before, before + 1):
        step([good[number]], number)
        plain([good[number]], number)
    if name != "lamb":  # which counts the step in its groups
        theirs = other.state_dict()
        for key, value in model.state_dict().items():
            assert torch.equal(value, theirs[key]), key


def test_one_bad_part_of_a_step_leaves_all_of_it_out():
    model = TinyNetwork("tiny_bn", 6, 0.0, 16)
    step = make_step(model, training__accumulate=2, **SKIP)
    known = state_of(model, step)
    good = make_batch(np.arange(8))
    step([good._replace(clips=good.clips.float() * float("inf")), good], 0)
    assert all(map(torch.equal, known, state_of(model, step)))


class Masked(nn.Module):
    """Gives the true class a probability of zero: a loss without end, and finite gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 6)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        logits = self.head(clips.float().div(255).mean((1, 2)).flatten(1))
        return logits.masked_fill(torch.arange(6) == 2, -torch.inf)


def test_an_infinite_loss_with_finite_gradients_is_left_out_too():
    model = Masked()
    known = copy.deepcopy(model.state_dict())
    make_step(model)([make_batch(np.arange(8))], 0)
    assert any(not torch.equal(known[name], value) for name, value in model.state_dict().items())
    model.load_state_dict(known)
    make_step(model, **SKIP)([make_batch(np.arange(8))], 0)
    assert all(torch.equal(known[name], value) for name, value in model.state_dict().items())


@pytest.fixture
def poison(monkeypatch):
    """Has all clips of batches that hold certain rows be no numbers."""
    true = synthetic.make_batch

    def poison(*rows: int) -> None:
        def make_batch(served):
            batch = true(served)
            bad = set(rows) & set(served.tolist())
            return batch._replace(clips=batch.clips.float() * float("nan")) if bad else batch

        monkeypatch.setattr(synthetic, "make_batch", make_batch)

    return poison


def test_what_is_left_out_is_told_counted_and_resumed_exactly(tmp_path, tiny, poison, capsys):
    """Row 17 comes once an epoch: three steps of fifteen are left out, never three in a row."""
    poison(17)
    settings = {"data__train_list": "40", "training__log_every": 3, "model__dropout": 0.5} | SKIP
    settings["training__non_finite_limit"] = 2
    whole = run(tmp_path / "whole", **settings)
    told = events(tmp_path / "whole", "skipped")
    served = [step for step in tiny.loaders[0].served if 17 in step[2]]
    assert [(event["step"], event["rows"]) for event in told] == [
        (5 * epoch + step + 1, sorted(rows)) for epoch, step, rows in served
    ]
    assert {event["reason"] for event in told} == {"loss"}
    assert f"step {told[0]['step']}: left out, the loss is not finite" in capsys.readouterr().out
    lines = events(tmp_path / "whole", "train")
    assert lines[-1]["skipped"] == 3
    assert sum(line["clips"] for line in lines) == 12 * 8
    assert all(value.isfinite().all() for value in tensors(whole.last).values())
    tiny.hooks["train"] = ask_to_stop((1, 2))
    run(tmp_path / "parts", **settings)
    tiny.hooks.clear()
    assert_same(whole.last, run(tmp_path / "parts", **settings).last)
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
    assert [e["step"] for e in events(tmp_path / "parts", "skipped")] == [e["step"] for e in told]


def test_a_line_of_nothing_but_what_was_left_out_has_no_means(tmp_path, tiny, poison):
    poison(*range(20))  # every batch
    settings = {"data__train_list": "40", "training__epochs": 1, "training__non_finite_limit": 9}
    run(tmp_path, **settings, **SKIP)
    lines = events(tmp_path, "train")
    assert {line["clips"] for line in lines} == {0}
    assert {line["loss"] for line in lines} == {line["top1"] for line in lines} == {None}


@pytest.mark.parametrize("log_every", [1, 2, 100])
def test_too_many_in_a_row_end_the_run_with_the_last_one(tmp_path, tiny, poison, log_every):
    poison(*range(36))
    settings = {"training__non_finite_limit": 3, "training__log_every": log_every}
    with pytest.raises(UserError, match=r"step 4: .* the last of 4 steps in a row") as error:
        run(tmp_path, **settings, **SKIP)
    rows = tiny.loaders[0].served[3][2]
    assert ", ".join(map(str, sorted(rows))) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_count_in_a_row_goes_on_over_an_interruption(tmp_path, tiny, poison):
    poison(*range(36))
    tiny.hooks["train"] = ask_to_stop((0, 1))
    run(tmp_path, training__non_finite_limit=3, **SKIP)
    tiny.hooks.clear()
    with pytest.raises(UserError, match=r"step 4: .* the last of 4"):
        run(tmp_path, training__non_finite_limit=3, **SKIP)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_are_saved(
    tmp_path, tiny, monkeypatch
):
    """The loss is a number; one step later it would not be any more."""
    calls = []

    class Explosive(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, gradient):
            calls.append(None)
            return gradient * (float("inf") if len(calls) == 7 else 1.0)

    forward = TinyNetwork.forward
    monkeypatch.setattr(TinyNetwork, "forward", lambda self, x: Explosive.apply(forward(self, x)))
    with pytest.raises(UserError, match="step 7: the gradient is not finite, on rows"):
        run(tmp_path, training__save_every_steps=1)
    assert torch.load(tmp_path / "checkpoints" / "last.pt")["step"] == 6


def test_what_the_loss_scale_leaves_out_is_counted_apart(tmp_path, tiny):
    run(tmp_path, training__precision="fp16", training__epochs=4, optimizer__lr=0.05)
    last = events(tmp_path, "train")[-1]
    assert last["skipped"] == 0
    assert last["overflows"] > 0
    assert not events(tmp_path, "skipped")
