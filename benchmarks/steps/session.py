"""What a run of the benchmark of training measures, in what time, and where its rows go."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.clips.data import MEMORY, kept_folder
from benchmarks.harness.common import described, progress, results_file, surroundings
from benchmarks.harness.rows import Result, Row, results_of, write_results
from benchmarks.harness.timing import Clock
from benchmarks.steps import end_to_end, epochs
from benchmarks.steps.limits import Budget
from benchmarks.steps.losses import LossCheck
from benchmarks.steps.measurement import NO_TIME, Race, place
from benchmarks.steps.peers import (
    COMPILED_ON_CPU,
    COMPILED_ON_GPU,
    ON_CPU,
    ON_GPU,
    OURS,
    PLAIN,
    PUBLISHED,
    StepPeer,
    StepSize,
    take_turn,
)
from benchmarks.steps.roofline import matrix_rate, roofline_rows, take_apart
from benchmarks.steps.trainee import Trainee

STEP = ("model", "segments", "pixels", "clips", "peer", "precision")
"""Columns that say what was measured of steps,"""
ROOFLINE = (*STEP, "operator")
"""of their operators,"""
FILES = ("model", "segments", "pixels", "clips", "source", "cache")
"""and of training from files."""
SIZES = {
    "cuda": PUBLISHED,
    "cpu": (StepSize("tdn_resnet50", 8, 112, 1),),
}
CACHES = ("warm", "cold")
COPIED = {"cuda": 1 << 30, "cpu": 1 << 26}
RACE_WEIGHT = 10.0
TURNS = 5
"""Of the whole step whose operators are taken apart."""


class Job(NamedTuple):
    """Rows that are made together."""

    benchmark: str
    columns: tuple[str, ...]
    """That say what was measured."""
    weight: float
    """Of its share in the time that is left; of what comes last, each may take all of that."""
    work: Callable[[Budget], list[Row]]
    case: Row
    """Of its row if it fails."""
    is_last: bool = False
    """Whether it needs a compiler, and so a time that nobody knows."""


def measure_all(options: argparse.Namespace) -> list[Result]:
    """Measure what the command line asks for, until its time is up; rows are written as they come.

    First what needs no compiler, of all sizes; then the rest.

    Returns:
        All rows, in their form of files.
    """
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    where = surroundings(options.device)
    output = options.output or results_file("training", options.device)
    budget = Budget(60 * options.minutes)
    results: list[Result] = []
    with kept_folder(options.data) as folder:
        jobs = list(_jobs(options, device, folder))
        for number, job in enumerate(jobs):
            began = time.monotonic()
            share = 1.0 if job.is_last else job.weight / _weight(jobs[number:])
            try:
                rows = job.work(budget.share(share))
            except Exception as error:  # whatever a GPU has to say
                rows = [job.case | {"error": described(error)}]
            results += results_of(job.benchmark, job.columns, rows, where)
            write_results(output, results)
            _free(device, job.is_last)
            progress(f"{job.benchmark} {job.case}: {time.monotonic() - began:.0f} s")
    if "files" in options.parts:
        gpus = torch.cuda.device_count() if device.type == "cuda" else 0
        rows = epochs.epoch_rows(results, gpus)
        results += results_of("epoch", epochs.CASE, rows, where)
        write_results(output, results)
    return results


def _free(device: torch.device, compiled: bool) -> None:
    """Give back the memory of networks that have had their turns."""
    if compiled:
        torch.compiler.reset()  # else what it has compiled keeps them, and graphs keep their pools
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _weight(jobs: Sequence[Job]) -> float:
    """Of jobs, those that come last taken as one."""
    return sum(job.weight for job in jobs if not job.is_last) + max(
        (job.weight for job in jobs if job.is_last), default=0.0
    )


def _jobs(options: argparse.Namespace, device: torch.device, folder: Path) -> Iterator[Job]:
    on_gpu = device.type == "cuda"
    sizes = options.sizes or SIZES[device.type][: 1 if options.quick else None]
    races = [Race(size, device, options, LossCheck(size, device)) for size in sizes]
    if "steps" in options.parts:
        for race in races:
            peers = ON_GPU if on_gpu else ON_CPU
            yield _race_job(race, peers, peers)
    if "roofline" in options.parts:
        for peer in (PLAIN, OURS):
            yield _roofline_job(peer if on_gpu else peer.without_gpu(), sizes[0], device)
    if "files" in options.parts:
        yield from _file_jobs(options, device, folder)
    if "steps" in options.parts and (on_gpu or options.compile):
        for race in races:
            plain = PLAIN if on_gpu else PLAIN.without_gpu()
            for peer in COMPILED_ON_GPU if on_gpu else COMPILED_ON_CPU:
                yield _race_job(race, (plain, peer), (peer,), is_last=True)


def _race_job(
    race: Race,
    peers: tuple[StepPeer, ...],
    wanted: tuple[StepPeer, ...],
    is_last: bool = False,
) -> Job:
    """Peers that take turns; rows of some of them."""
    names = {peer.name for peer in wanted}

    def work(budget: Budget) -> list[Row]:
        return [row for row in race.rows(peers, budget) if row["peer"] in names]

    case = place(wanted[0], race.size)
    return Job("training", STEP, RACE_WEIGHT, work, case, is_last)


def _roofline_job(peer: StepPeer, size: StepSize, device: torch.device) -> Job:
    case = place(peer, size) | {"operator": "all"}

    def work(budget: Budget) -> list[Row]:
        if budget.left < 0:
            return [case | {"left_out": NO_TIME}]
        clock = Clock(device.type, COPIED[device.type])
        copy = 1e9 * clock.copy
        trainee = Trainee(peer, size, device)
        rate = matrix_rate(clock, take_turn(peer, device))
        for _ in range(TURNS):
            trainee.turn(1)
        parts = take_apart(trainee.whole_step, device.type, rate, copy)
        return roofline_rows(place(peer, size), parts, trainee.times.ms, rate, copy)

    return Job("roofline", ROOFLINE, 2, work, case)


def _file_jobs(options: argparse.Namespace, device: torch.device, folder: Path) -> Iterator[Job]:
    rounds = max(1, options.rounds // 2)
    sizes = end_to_end.SIZES[device.type][: 1 if options.quick else None]
    for size in sizes:
        case = end_to_end.case(size, MEMORY, "none")

        def control(budget: Budget, size: StepSize = size, case: Row = case) -> list[Row]:
            if budget.left < 0:
                return [case | {"left_out": NO_TIME}]
            return [case | end_to_end.control(size, device, rounds, options.threads)]

        yield Job("from_files", FILES, 1, control, case)
    for size in sizes:
        for source in options.sources:
            if size != sizes[0] and source not in end_to_end.TARGETED:
                continue
            caches = CACHES if size == sizes[0] else CACHES[:1]
            work = partial(
                end_to_end.measure_source, size, source, caches, folder, device, rounds,
                options.threads,
            )  # fmt: skip
            yield Job("from_files", FILES, 2, work, end_to_end.case(size, source, "warm"))
