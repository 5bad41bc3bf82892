"""What a run of the benchmark of training measures, in what time, and where its rows go."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.clips.data import MEMORY, kept_folder
from benchmarks.harness.common import failure, progress, results_file, surroundings
from benchmarks.harness.rows import Result, Row, results_of, write_results
from benchmarks.steps import end_to_end
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
from benchmarks.steps.roofline import Rates, roofline_rows, take_apart
from benchmarks.steps.trainee import Trainee

STEP = ("model", "segments", "pixels", "clips", "peer", "precision")
"""Columns that say what was measured of steps,"""
ROOFLINE = (*STEP, "operator")
"""of their operators,"""
FILES = ("model", "segments", "pixels", "clips", "source", "cache")
"""and of training from files."""
SIZES = {
    "cuda": PUBLISHED,
    "cpu": (StepSize("tdn_resnet50", 8, 112, 1), StepSize("tdn_resnet18", 8, 112, 1)),
}
CACHES = ("warm", "cold")
RACE_WEIGHTS = 60.0, 10.0
"""Of the first size, which targets are of, and of others."""
NEEDED = PLAIN.name, OURS.name
"""Peers that targets are of, compiled ones aside."""
TURNS = 5
"""Of the whole step whose operators are taken apart."""


class Job(NamedTuple):
    """Rows that are made together."""

    benchmark: str
    columns: tuple[str, ...]
    """That say what was measured."""
    weight: float
    """Of its share in the time that is left."""
    work: Callable[[Budget], Iterator[list[Row]]]
    """Gives its rows, all of them each time that it knows more."""
    case: Row
    """Of its row if it fails, or is not begun."""
    compiles: bool = False
    """Whether it needs a compiler, for a time that nobody knows: it may take all that is left."""

    def results(self, rows: Sequence[Row], where: Row) -> list[Result]:
        """Its rows in the form of files; one that is left out if there are none."""
        rows = rows or [self.case | {"left_out": NO_TIME}]
        return results_of(self.benchmark, self.columns, rows, where)


def measure_all(options: argparse.Namespace) -> list[Result]:
    """Measure what the command line asks for, until its time is up; rows are written as they come.

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
        jobs = list(jobs_of(options, device, folder))
        for number, job in enumerate(jobs):
            began = time.monotonic()
            share = 1.0 if job.compiles else job.weight / _weight(jobs[number:])
            later = [result for job in jobs[number + 1 :] for result in job.results([], where)]
            mine: list[Result] = []
            for rows in _rows(job, budget.share(share)):
                mine = job.results(rows, where)
                write_results(output, [*results, *mine, *later])
            results += mine
            _free(device, job.compiles)
            progress(f"{job.benchmark} {job.case}: {time.monotonic() - began:.0f} s")
    return results


def _rows(job: Job, budget: Budget) -> Iterator[list[Row]]:
    """All rows of a job, each time that it knows more; one with its error if it fails."""
    yield []
    try:
        yield from job.work(budget)
    except Exception as error:  # whatever a GPU has to say
        yield [job.case | failure(error)]


def _free(device: torch.device, compiled: bool) -> None:
    """Give back the memory of networks that have had their turns."""
    if compiled:
        torch.compiler.reset()  # else what it has compiled keeps them, and graphs keep their pools
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _weight(jobs: Sequence[Job]) -> float:
    """Of jobs, those that compile taken as one."""
    return sum(job.weight for job in jobs if not job.compiles) + max(
        (job.weight for job in jobs if job.compiles), default=0.0
    )


def jobs_of(options: argparse.Namespace, device: torch.device, folder: Path) -> Iterator[Job]:
    """What matters most comes first; what must be compiled, which takes its time, after it."""
    on_gpu = device.type == "cuda"
    sizes = options.sizes or SIZES[device.type][: 1 if options.quick else None]
    races = [Race(size, device, options, LossCheck(size, device)) for size in sizes]
    if "steps" in options.parts:
        for race in races:
            peers = ON_GPU if on_gpu else ON_CPU
            first = race is races[0]
            yield _race_job(
                race, peers, peers, RACE_WEIGHTS[not first], needed=NEEDED if first else ()
            )
    if "roofline" in options.parts:
        rates = Rates(device)
        for peer in (PLAIN, OURS):
            yield _roofline_job(peer if on_gpu else peer.without_gpu(), sizes[0], device, rates)
    targeted, others = _file_jobs(options, device, folder) if "files" in options.parts else ([], [])
    compiled: list[list[Job]] = [[] for _ in races]
    if "steps" in options.parts and (on_gpu or options.compile):
        compiled = [_compiled_jobs(race, on_gpu) for race in races]
    yield from targeted
    yield from compiled[0]
    yield from others
    for jobs in compiled[1:]:
        yield from jobs


def _compiled_jobs(race: Race, on_gpu: bool) -> list[Job]:
    """Each for itself, beside the reference of speed."""
    plain = PLAIN if on_gpu else PLAIN.without_gpu()
    peers = COMPILED_ON_GPU if on_gpu else COMPILED_ON_CPU
    weight = RACE_WEIGHTS[1]
    return [_race_job(race, (plain, peer), (peer,), weight, compiles=True) for peer in peers]


def _race_job(
    race: Race,
    peers: tuple[StepPeer, ...],
    wanted: tuple[StepPeer, ...],
    weight: float,
    compiles: bool = False,
    needed: Collection[str] = (),
) -> Job:
    """Peers that take turns; rows of some of them, of those that are needed whatever they take."""
    names = {peer.name for peer in wanted}

    def work(budget: Budget) -> Iterator[list[Row]]:
        for rows in race.rows(peers, budget, needed):
            yield [row for row in rows if row["peer"] in names]

    case = place(wanted[0], race.size)
    return Job("training", STEP, weight, work, case, compiles)


def _roofline_job(peer: StepPeer, size: StepSize, device: torch.device, rates: Rates) -> Job:
    case = place(peer, size) | {"operator": "all"}

    def work(budget: Budget) -> Iterator[list[Row]]:
        if budget.left < 0:
            return
        trainee = Trainee(peer, size, device)
        rate, copy = rates.matrix(take_turn(peer, device)), rates.copy
        for _ in range(TURNS):
            trainee.turn(1)
        parts = take_apart(trainee.whole_step, device.type, rate, copy)
        yield roofline_rows(place(peer, size), parts, trainee.times.ms, rate, copy)

    return Job("roofline", ROOFLINE, 3, work, case)


def _file_jobs(
    options: argparse.Namespace, device: torch.device, folder: Path
) -> tuple[list[Job], list[Job]]:
    """Those that targets are of, with the first size, and the others.

    Sources that no target is of are read with the first size only, on a CPU right away.
    """
    first, *others = end_to_end.SIZES[device.type][: 1 if options.quick else None]
    targeted = [each for each in options.sources if each in end_to_end.TARGETED]
    rest = [each for each in options.sources if each not in targeted]
    make = partial(_source_job, options, device, folder)
    early = [_control_job(options, device, first)]
    early += [make(first, each, CACHES) for each in targeted]
    late = []
    for size in others:
        late.append(_control_job(options, device, size))
        late += [make(size, each, CACHES[:1]) for each in targeted]
    return early, late + [make(first, each, CACHES) for each in rest]


def _control_job(options: argparse.Namespace, device: torch.device, size: StepSize) -> Job:
    case = end_to_end.case(size, MEMORY, "none")

    def work(budget: Budget) -> Iterator[list[Row]]:
        if budget.left < 0:
            return
        rounds = _rounds_of_files(options)
        yield [case | end_to_end.control(size, device, rounds, options.threads)]

    return Job("from_files", FILES, 2, work, case)


def _source_job(
    options: argparse.Namespace,
    device: torch.device,
    folder: Path,
    size: StepSize,
    source: str,
    caches: Sequence[str],
) -> Job:
    work = partial(
        end_to_end.measure_source, size, source, caches, folder, device,
        _rounds_of_files(options), options.threads,
    )  # fmt: skip
    case = end_to_end.case(size, source, caches[0])
    return Job("from_files", FILES, 2 * len(caches), work, case)


def _rounds_of_files(options: argparse.Namespace) -> int:
    """Longer turns than those of steps, and so fewer."""
    return max(1, options.rounds // 3)
