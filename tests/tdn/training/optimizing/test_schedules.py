from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from tdn.config import Config
from tdn.errors import UserError
from tdn.training.optimizing.schedules import check_schedule, create_schedule

STEPS = 7


def schedule_of(steps: int = STEPS, **values: object):
    config = configured(**values)
    return create_schedule(config, steps, global_batch=8)


def configured(**values: object) -> Config:
    config = Config()
    config.optimizer.lr = values.pop("lr", 0.4)
    config.training.epochs = values.pop("epochs", 10)
    for key, value in values.items():
        setattr(config.schedule, key, value)
    return config


def torch_rates(make: type[LRScheduler], total: int, **values: object) -> list[float]:
    """The rates of torch's own scheduler, which knows its state instead of the step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = make(optimizer, **values)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("values", "oracle"),
    [
        (
            {"name": "step", "milestones": [3, 5, 9], "gamma": 0.2},
            (MultiStepLR, {"milestones": [3 * STEPS, 5 * STEPS, 9 * STEPS], "gamma": 0.2}),
        ),
        (
            {"name": "cosine", "min_lr": 1e-3},
            (CosineAnnealingLR, {"T_max": 10 * STEPS, "eta_min": 1e-3}),
        ),
        (
            {"name": "one_cycle"},
            (OneCycleLR, {"max_lr": 0.4, "total_steps": 10 * STEPS, "cycle_momentum": False}),
        ),
        ({"name": "constant"}, (MultiStepLR, {"milestones": []})),
    ],
)
def test_agrees_with_torch_at_every_step(values, oracle):
    schedule = schedule_of(**values)
    total = 10 * STEPS
    expected = torch_rates(oracle[0], total, **oracle[1])
    assert [schedule(step) for step in range(total)] == pytest.approx(expected, rel=1e-9)


def test_published_recipe():
    """x0.1 after 30, 45 and 55 of 60 epochs; the change comes with the epoch's first step."""
    schedule = schedule_of(lr=0.01, epochs=60, name="step", milestones=[30, 45, 55])
    rates = {epoch: schedule(epoch * STEPS) for epoch in (0, 29, 30, 44, 45, 54, 55, 59)}
    assert rates == pytest.approx(
        {0: 1e-2, 29: 1e-2, 30: 1e-3, 44: 1e-3, 45: 1e-4, 54: 1e-4, 55: 1e-5, 59: 1e-5}
    )
    assert schedule(30 * STEPS - 1) == pytest.approx(1e-2)


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_warm_up_rises_in_a_line_from_a_hundredth(name):
    schedule = schedule_of(name=name, warmup_epochs=2, milestones=[3])
    rates = [schedule(step) for step in range(2 * STEPS + 1)]
    assert rates[0] == pytest.approx(0.4 / 100)
    assert rates[-1] == pytest.approx(0.4)
    rises = [b - a for a, b in pairwise(rates)]
    assert rises == pytest.approx([rises[0]] * len(rises))


def test_cosine_falls_from_the_end_of_the_warm_up_to_the_end_of_the_run():
    schedule = schedule_of(name="cosine", warmup_epochs=2, min_lr=0.1)
    middle = (2 * STEPS + 10 * STEPS) // 2
    assert schedule(middle) == pytest.approx((0.4 + 0.1) / 2)
    assert schedule(10 * STEPS) == pytest.approx(0.1)


@given(
    name=st.sampled_from(["step", "cosine", "constant", "one_cycle"]),
    epochs=st.integers(1, 30),
    steps=st.integers(1, 50),
    warmup=st.floats(0, 0.99),
    milestones=st.lists(st.integers(0, 40), unique=True).map(sorted),
    lr=st.floats(1e-4, 10),
)
def test_rises_once_then_never_rises_and_stays_in_bounds(
    name, epochs, steps, warmup, milestones, lr
):
    warmup_epochs = warmup * epochs
    schedule = schedule_of(
        steps,
        name=name,
        epochs=epochs,
        lr=lr,
        min_lr=1e-5,
        warmup_epochs=warmup_epochs,
        milestones=milestones,
    )
    rates = [schedule(step) for step in range(epochs * steps)]
    assert all(math.isfinite(rate) and 0 < rate <= lr * (1 + 1e-9) for rate in rates)
    rises = [b > a * (1 + 1e-9) for a, b in pairwise(rates)]
    assert rises == sorted(rises, reverse=True)
    if name != "one_cycle":
        assert sum(rises) <= math.ceil(warmup_epochs * steps)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"name": "cosine", "warmup_epochs": 10}, "schedule.warmup_epochs"),
        ({"name": "cosine", "min_lr": 0.5}, "schedule.min_lr"),
    ],
)
def test_impossible_schedules_are_refused(values, key):
    with pytest.raises(UserError, match=key):
        check_schedule(configured(**values), global_batch=8)


def test_the_default_schedule_is_accepted():
    check_schedule(Config(), global_batch=8)


@given(st.floats(1e-6, 10), st.integers(1, 512), st.integers(1, 512))
def test_the_rate_is_in_proportion_to_the_batch_only_where_that_is_asked_for(lr, batch, base):
    config = configured(name="cosine", lr=lr, min_lr=0)
    assert create_schedule(config, STEPS, batch)(0) == lr
    config.optimizer.base_batch = base
    assert create_schedule(config, STEPS, batch)(0) == pytest.approx(lr * batch / base)
    assert create_schedule(config, STEPS, base)(0) == lr


def test_a_scaled_rate_must_not_fall_below_the_final_one():
    config = configured(name="cosine", lr=0.1, min_lr=0.02)
    config.optimizer.base_batch = 64
    check_schedule(config, global_batch=16)
    with pytest.raises(UserError, match=r"schedule\.min_lr.*scaled to 0\.0125"):
        check_schedule(config, global_batch=8)
