"""Learning rates as a function of the step's number: nothing to save, nothing to resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from tdn.config import Config, OptimizerConfig, ScheduleConfig
from tdn.errors import UserError

WARMUP_START = 0.01
"""Warm-up begins at this fraction of the learning rate (as the released code does)."""

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START * 1e-4
"""one_cycle: part of the steps in which the rate rises; first and last rate as parts of the peak
(Smith and Topin 2018, with the values that torch's OneCycleLR made customary)."""

Schedule = Callable[[int], float]


def peak_rate(config: OptimizerConfig, global_batch: int) -> float:
    """The highest learning rate of a run: in proportion to the batch, if that was asked for.

    Args:
        config: ``lr`` and ``base_batch`` are read.
        global_batch: Clips a step, over all processes.

    Returns:
        The rate by the linear rule (Goyal et al. 2017, section 2.1).
    """
    return config.lr * (global_batch / config.base_batch) if config.base_batch else config.lr


def create_schedule(config: Config, steps_per_epoch: int, global_batch: int) -> Schedule:
    """The learning rate of every step of a run.

    Args:
        config: ``schedule``, ``optimizer`` and ``training.epochs`` are read.
        steps_per_epoch: Optimizer steps in an epoch.
        global_batch: Clips a step, over all processes.

    Returns:
        A function from a step's number, counted from 0 over the whole run, to its rate.
    """
    return partial(
        learning_rate,
        config.schedule,
        peak_rate(config.optimizer, global_batch),
        steps_per_epoch,
        config.training.epochs * steps_per_epoch,
    )


def learning_rate(
    schedule: ScheduleConfig, peak: float, steps_per_epoch: int, total: int, step: int
) -> float:
    """The learning rate of one step.

    step multiplies by gamma at each milestone, counted from the first step of the run; cosine falls
    from the end of the warm-up to min_lr at the end of the run. The warm-up is linear from peak/100
    and leads into any schedule but one_cycle, which brings its own.

    Args:
        schedule: The schedule and its constants.
        peak: The highest rate.
        steps_per_epoch: Steps in an epoch.
        total: Steps in the run.
        step: From 0 to total - 1.
    """
    if schedule.name == "one_cycle":
        return _one_cycle(peak, total, step)
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (WARMUP_START + (1 - WARMUP_START) * step / warmup)
    if schedule.name == "step":
        passed = sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
        return peak * schedule.gamma**passed
    if schedule.name == "cosine":
        return _cosine(peak, schedule.min_lr, (step - warmup) / (total - warmup))
    return peak


def _cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from start at progress 0 to end at progress 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _one_cycle(peak: float, total: int, step: int) -> float:
    """Rise to the peak, then fall far below the start, both as half a cosine."""
    top, last = ONE_CYCLE_RISE * total - 1, total - 1
    if step <= top:
        return _cosine(peak * ONE_CYCLE_START, peak, step / top)
    top = max(top, 0)  # a run too short to rise begins at its peak
    return _cosine(peak, peak * ONE_CYCLE_END, (step - top) / max(last - top, 1))


def check_schedule(config: Config, global_batch: int) -> None:
    """Refuse a schedule that cannot run as written.

    Args:
        config: What ``create_schedule`` reads.
        global_batch: Clips a step, over all processes.

    Raises:
        UserError: The warm-up does not end, or cosine would rise.
    """
    schedule, epochs = config.schedule, config.training.epochs
    peak = peak_rate(config.optimizer, global_batch)
    if schedule.name != "one_cycle" and schedule.warmup_epochs >= epochs:
        raise UserError(
            f"schedule.warmup_epochs: {schedule.warmup_epochs:g} leaves nothing of the {epochs} "
            "training.epochs; make it shorter"
        )
    if schedule.name == "cosine" and schedule.min_lr > peak:
        rule = "optimizer.lr scaled to" if config.optimizer.base_batch else "optimizer.lr"
        raise UserError(f"schedule.min_lr: {schedule.min_lr:g} is above {rule} {peak:g}; lower it")
