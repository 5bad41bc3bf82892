"""A run of the benchmark of the pipeline: what it measures, in what time, and where rows go."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import torch

from benchmarks.clips.contestants import BACKENDS, OURS_ON_CPU
from benchmarks.clips.data import CLASSES, Recipe, kept_folder, make_clips, missing_encoder
from benchmarks.clips.measurement import Case, Effort, Row
from benchmarks.harness.common import progress, results_file, surroundings
from benchmarks.harness.rows import results_of, write_results
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig
from tdn.machine import usable_cores

CASE = ("source", "segments", "contestant", "batch_size", "workers")
"""Columns that say what was measured."""


def has_device(device: str) -> bool:
    """Whether there is such a device, "cpu" or "cuda"."""
    return device == "cpu" or torch.cuda.is_available()


def measure_all(options: argparse.Namespace) -> list[Row]:
    """Measure what the command line asks for, until its time is up.

    Rows are written as they come; until then, and where the time is too short, they say so.
    """
    end = time.monotonic() + 60 * options.minutes
    effort = Effort(options.rounds, options.seconds)
    where = surroundings(options.device)
    if options.commit:
        where["commit"] = options.commit
    output = options.output or results_file("pipeline", options.device)
    cases = list(itertools.product(options.sources, options.segments))
    rows = {
        (source, segments): _case(source, None, segments, options).left_out(
            f"PyAV has no encoder {encoder} here"
            if (encoder := missing_encoder(source))
            else f"the {options.minutes:g} minutes were up"
        )
        for source, segments in cases
    }

    def write() -> list[Row]:
        found = list(itertools.chain.from_iterable(rows.values()))
        write_results(output, results_of("pipeline", CASE, found, where))
        return found

    write()
    with kept_folder(options.data) as folder:
        for source, segments in cases:
            begin = time.monotonic()
            if begin > end or missing_encoder(source):
                continue
            case = _case(source, _make(source, folder, options), segments, options)
            rows[source, segments] = case.measure(effort, end)
            progress(f"{case}: {time.monotonic() - begin:.0f} s")
            write()
    return write()


def _make(source: str, folder: Path, options: argparse.Namespace) -> Path:
    begin = time.monotonic()
    cores = usable_cores()
    listed = make_clips(folder, source, Recipe(options.clips, options.frames), cores)
    progress(f"{options.clips} clips of {source}: {time.monotonic() - begin:.0f} s")
    return listed


def _case(source: str, listed: Path | None, segments: int, options: argparse.Namespace) -> Case:
    config = Config(
        model=ModelConfig(num_segments=segments, num_classes=CLASSES),
        data=DataConfig(
            train_list=str(listed or ""),
            batch_size=options.batch_size,
            num_threads=options.workers,
        ),
        logging=LoggingConfig(progress=False),
    )
    contestants = [BACKENDS[name] for name in options.backends]
    if options.device == "cpu":
        contestants = [contestant for contestant in contestants if contestant != OURS_ON_CPU]
    contestants = [contestant for contestant in contestants if source in contestant.sources]
    return Case(source, config, contestants, options.device)
