"""What a run of the benchmark of training measures, and where its rows go."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import torch

import tdn
from benchmarks.clips.data import CLASSES, Recipe, make_clips, missing_encoder
from benchmarks.common import described, progress, slug, surroundings
from benchmarks.resident import resident_batch
from benchmarks.resident_run import run
from benchmarks.rows import Result, Row, results_of, write_results
from benchmarks.steps.files import TurnLoader, forget, stall_values
from benchmarks.steps.launches import gpu_values
from benchmarks.steps.measurement import Contestant, measure, place
from benchmarks.steps.peers import COMPILED_ON_CPU, ON_CPU, ON_GPU, OURS, PLAIN, Size
from benchmarks.steps.roofline import matrix_rate, roofline_rows, take_apart
from benchmarks.timing import Clock
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig, TrainingConfig
from tdn.pipelines.subprocess_workers import usable_cores
from tdn.training.precision import choose_precision

RESULTS = Path(__file__).parents[1] / "results"
STEP = ("model", "segments", "pixels", "clips", "peer", "precision")
"""Columns that say what was measured of steps,"""
ROOFLINE = (*STEP, "operator")
"""of their operators,"""
FILES = ("model", "segments", "pixels", "clips", "source", "cache")
"""and of training from files."""
SIZES = {
    "cuda": (
        Size("tdn_resnet50", 8, 224, 16),
        Size("tdn_resnet50", 16, 224, 8),
        Size("tdn_resnet101", 8, 224, 16),
    ),
    "cpu": (Size("tdn_resnet50", 8, 112, 1),),
}
FROM_FILES = {"cuda": Size("tdn_resnet50", 8, 224, 16), "cpu": Size("tdn_resnet18", 8, 112, 4)}
FILES_MADE = 32
COPIED = {"cuda": 1 << 30, "cpu": 1 << 26}


def measure_all(options: argparse.Namespace) -> list[Result]:
    """Measure what the command line asks for, until its time is up; rows are written as they come.

    Returns:
        All rows, in their form of files.
    """
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True  # as in training
    where = surroundings(options.device)
    output = options.output or RESULTS / f"training-{slug(str(where['device']))}.jsonl"
    end = time.monotonic() + 60 * options.minutes
    results: list[Result] = []
    for name, columns, work in _jobs(options, device):
        began = time.monotonic()
        if began > end:
            rows: list[Row] = [{"left_out": f"the {options.minutes:g} minutes were up"}]
        else:
            rows = list(work())
            progress(f"{name}: {time.monotonic() - began:.0f} s")
        results += results_of(name, columns, rows, where)
        write_results(output, results)
    return results


def _jobs(
    options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, tuple[str, ...], Callable[[], object]]]:
    """Benchmark, its columns of a case, and what makes its rows."""
    sizes = options.sizes or SIZES[device.type][: 1 if options.quick else None]
    if "steps" in options.parts:
        for size in sizes:
            yield "training", STEP, partial(_steps, size, device, options)
    if "roofline" in options.parts:
        yield "roofline", ROOFLINE, partial(_roofline, sizes[0], device)
    if "files" in options.parts:
        for source in options.sources:
            yield "from_files", FILES, partial(_from_files, source, device, options)


def _steps(size: Size, device: torch.device, options: argparse.Namespace) -> list[Row]:
    peers = ON_GPU if device.type == "cuda" else ON_CPU
    if device.type == "cpu" and options.compile:
        peers = (*peers, *COMPILED_ON_CPU)
    rows, contestants = measure(peers, size, device, options.rounds, options.steps)
    for row in rows:
        contestant = contestants.get(str(row["peer"]))
        if device.type == "cuda" and contestant is not None:
            row |= gpu_values(contestant.whole_step)
    return rows


def _roofline(size: Size, device: torch.device) -> list[Row]:
    clock = Clock(device.type, COPIED[device.type])
    rows = []
    for peer in (PLAIN, OURS):
        peer = peer if device.type == "cuda" else peer.without_gpu()
        contestant = Contestant(peer, size, device)
        rate = matrix_rate(clock, choose_precision(peer.precision, device))
        parts = take_apart(contestant.whole_step, device.type, rate, 1e9 * clock.copy)
        rows += roofline_rows(place(peer, size), parts, rate, 1e9 * clock.copy)
    return rows


def _from_files(source: str, device: torch.device, options: argparse.Namespace) -> list[Row]:
    size = FROM_FILES[device.type]
    row: Row = {
        **{"model": size.model, "segments": size.segments, "pixels": size.pixels},
        **{"clips": size.clips, "source": source},
    }
    if encoder := missing_encoder(source):
        return [row | {"cache": "warm", "left_out": f"PyAV has no encoder {encoder} here"}]
    rows = []
    with tempfile.TemporaryDirectory(prefix="tdn-clips-") as temporary:
        folder = options.data or Path(temporary)
        recipe = Recipe(max(FILES_MADE, 2 * size.clips))
        listed = make_clips(folder, source, recipe, usable_cores())
        paths = [path for path in listed.parent.rglob("*") if path.is_file() and path != listed]
        for cache, before in (("warm", lambda: None), ("cold", partial(forget, paths))):
            try:
                values = _stall(listed, size, device, options, before)
            except Exception as error:  # whatever a decoder has to say
                values = {"error": described(error)}
            rows.append(row | {"cache": cache} | values)
    return rows


def _stall(
    listed: Path,
    size: Size,
    device: torch.device,
    options: argparse.Namespace,
    before: Callable[[], object],
) -> Row:
    config = Config(
        model=ModelConfig(
            name=size.model, num_segments=size.segments, num_classes=CLASSES, dropout=0.0
        ),
        data=DataConfig(
            train_list=str(listed),
            validation_list=str(listed),
            batch_size=size.clips,
            crop_size=size.pixels,
            short_side=size.pixels * 8 // 7,
        ),
        training=TrainingConfig(
            device=device.type, epochs=1, log_every=options.steps, cpu_threads=options.threads
        ),
        logging=LoggingConfig(progress=False, tensorboard=False),
    )
    config.schedule.name = "constant"
    batch = resident_batch(config, device)
    with closing(tdn.create_loader(config, split="train")) as files:
        loader = TurnLoader(files, batch, options.rounds, options.steps, device.type, before)
        run(config, loader)
    return stall_values(loader, size.clips)
