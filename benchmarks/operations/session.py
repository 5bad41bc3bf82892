"""A run of the benchmark of kernels: what sizes it measures, in what time, and where rows go."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

import torch

from benchmarks.harness.common import progress, results_file, surroundings
from benchmarks.harness.rows import results_of, write_results
from benchmarks.harness.timing import COPIED, Clock
from benchmarks.operations.catalogue import OPERATIONS, Size
from benchmarks.operations.launches import Counts, compile_ahead
from benchmarks.operations.measurement import Case, Row
from benchmarks.operations.turns import Effort

CASE = ("operation", "shape", "clips", "segments", "mode", "peer", "dtype", "layout")
"""Columns that say what was measured."""
Sizes = Mapping[str, Sequence[tuple[int, int]]]
"""Channels and height of the features by operation; "block" for all that blocks are made of."""
SIZES: Sizes = {
    "stem": [(3, 224)],
    "block": [(128, 56), (128, 28), (256, 28), (256, 14), (512, 14), (512, 7)],
    "fusion": [(64, 56), (256, 56)],
}
"""Those of ResNet-50."""
QUICK: Sizes = {"stem": [(3, 224)], "block": [(128, 56), (512, 7)], "fusion": [(64, 56)]}
TINY: Sizes = {"stem": [(3, 12)], "block": [(64, 6)], "fusion": [(16, 6)]}
AHEAD = 0.45
"""Share of the time that compiling ahead may take."""


def has_device(device: str) -> bool:
    """Whether there is such a device, "cpu" or "cuda"."""
    return device == "cpu" or torch.cuda.is_available()


def measure_all(options: argparse.Namespace) -> list[Row]:
    """Measure what the command line asks for, until its time is up.

    Rows are written as they come; those of what the time was too short for say so.
    """
    end = time.monotonic() + 60 * options.minutes
    torch.backends.cudnn.benchmark = True  # as in training
    clock = Clock(options.device, 1 << 20 if options.tiny else COPIED)
    print(f"copy: {clock.copy:.0f} GB/s, read and written", flush=True)
    effort = Effort(rounds=1, batch_ms=0, warm_up=1) if options.tiny else Effort()
    where = surroundings(clock.device) | {"copy_gb_per_s": round(clock.copy, 1)}
    if options.commit:
        where["commit"] = options.commit
    output = options.output
    if output is None and not options.tiny:
        output = results_file("kernels", options.device)
    cases = cases_of(options)
    launches = _ahead(cases, clock.device, AHEAD * (end - time.monotonic()))
    rows: list[Row] = []
    for number, case in enumerate(cases, start=1):
        start = time.monotonic()
        if start > end:
            found = case.left_out(f"the {options.minutes:g} minutes were up")
        else:
            found = case.measure(clock, effort, launches)
            progress(f"{number}/{len(cases)} {case}: {time.monotonic() - start:.1f} s")
        rows += found
        if output:
            write_results(output, results_of("kernels", CASE, rows, where))
    return rows


def cases_of(options: argparse.Namespace) -> list[Case]:
    """Operations and sizes that the command line asks for."""
    classes = {operation.name: operation for operation in OPERATIONS}
    sizes, clips, segments = SIZES, options.clips, 8
    if options.quick:
        sizes, clips = QUICK, clips[:1]
    if options.tiny:
        sizes, clips, segments = TINY, [1], 2
    return [
        Case(classes[name], Size(channels, height, count, segments))
        for name in options.operations
        for count in clips
        for channels, height in sizes.get(name, sizes["block"])
    ]


def _ahead(cases: list[Case], device: str, seconds: float) -> Counts:
    """What does not compile is done ahead as well, for its launches; a CPU has none."""
    if device == "cpu":
        return {}
    jobs = [job for case in cases for job in case.jobs(device)]
    jobs.sort(key=lambda job: not job.peer.compiled)
    launches = compile_ahead(jobs, seconds)
    progress(f"compiled ahead: {len(launches)} of {len(jobs)}")
    return launches
