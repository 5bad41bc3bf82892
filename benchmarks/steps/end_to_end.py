"""Runs of the trainer from files of every source, in every state of the page cache."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch

import tdn
from benchmarks.clips.data import CLASSES, JPEG, SHORT_GOP, missing_encoder
from benchmarks.harness.common import failure, synchronise
from benchmarks.harness.resident_run import run
from benchmarks.harness.resident_step import configured_step, resident_batch
from benchmarks.harness.rows import Row
from benchmarks.steps.copies import copied_clips, form_of
from benchmarks.steps.files import AHEAD, TurnLoader, batches_of_a_turn, stall_values
from benchmarks.steps.limits import Budget
from benchmarks.steps.measurement import NO_TIME
from benchmarks.steps.page_cache import cached_percent, forget, read
from benchmarks.steps.peers import PUBLISHED, StepSize
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig, TrainingConfig
from tdn.pipelines.batch import Batch

SIZES = {
    "cuda": PUBLISHED,
    "cpu": (StepSize("tdn_resnet18", 8, 64, 2),),
}
TARGETED = (JPEG, SHORT_GOP)
"""Sources that sizes but the first one are measured with, from the page cache."""
TURN_SECONDS = {"cuda": 1.5, "cpu": 1.0}
"""That a turn takes at least,"""
LEAST_STEPS = 4
"""and has."""
WARM_UP, TIMED = 3, 3
MOST_CACHED = 10.0
"""Percent of cold files that may lie in memory."""


def case(size: StepSize, source: str, cache: str) -> Row:
    """What was measured, as columns."""
    return {
        **{"model": size.model, "segments": size.segments, "pixels": size.pixels},
        **{"clips": size.clips, "source": source, "cache": cache},
    }


def control(size: StepSize, device: torch.device, rounds: int, threads: int) -> Row:
    """Memory against memory: how far a stall of nothing seems to be from 0."""
    config = _config(size, device, threads)
    batch = resident_batch(config, device)
    steps = steps_of_a_turn(config, batch, device)
    loader = TurnLoader(lambda: itertools.repeat(batch), batch, rounds, steps, device.type)
    run(config, loader)
    return stall_values(loader, size.clips)


def measure_source(
    size: StepSize,
    source: str,
    caches: Sequence[str],
    folder: Path,
    device: torch.device,
    rounds: int,
    threads: int,
    budget: Budget,
) -> Iterator[list[Row]]:
    """The rows so far, one for each state of the page cache, "warm" or "cold"."""
    if encoder := missing_encoder(form_of(source)):
        reason = f"PyAV has no encoder {encoder} here"
        yield [case(size, source, cache) | {"left_out": reason} for cache in caches]
        return
    rows: list[Row] = [case(size, source, cache) | {"left_out": NO_TIME} for cache in caches]
    yield rows
    if budget.left < 0:
        return
    config = _config(size, device, threads)
    batch = resident_batch(config, device)
    steps = steps_of_a_turn(config, batch, device)
    listed, paths = copied_clips(folder, source, size.clips * batches_of_a_turn(steps))
    for number, cache in enumerate(caches):
        if budget.left > 0:
            try:
                # The trainer's configuration names no files in the end: each run has its own.
                config = _config(size, device, threads, listed)
                values = _stall(config, paths, batch, cache, rounds, steps)
            except Exception as error:  # whatever a decoder has to say
                values = failure(error)
            rows[number] = case(size, source, cache) | values
            yield rows


def _stall(
    config: Config, paths: Sequence[Path], batch: Batch, cache: str, rounds: int, steps: int
) -> Row:
    device = batch.clips.device
    prepare: Callable[[Sequence[Path]], None] = forget if cache == "cold" else read
    cached: list[float] = []
    epochs = itertools.count()
    with closing(tdn.create_loader(config, split="train")) as files:

        def opened() -> Iterator[Batch]:
            files.close()  # what it holds ready was read before
            prepare(paths)
            cached.append(cached_percent(paths))
            files.set_epoch(next(epochs))
            return iter(files)

        alone = loader_speed(opened(), config.data.batch_size, steps, device)
        loader = TurnLoader(opened, batch, rounds, steps, device.type)
        run(config, loader)
    values: Row = {"cached_percent": round(max(cached) if cache == "cold" else min(cached), 1)}
    if cache == "cold" and max(cached) > MOST_CACHED:
        return values | {"left_out": "the system does not forget files here (posix_fadvise)"}
    return values | stall_values(loader, config.data.batch_size) | {"loader_clips_per_s": alone}


def loader_speed(batches: Iterator[Batch], clips: int, steps: int, device: torch.device) -> float:
    """Clips a second of a loader that nobody makes wait."""
    for _ in itertools.islice(batches, AHEAD):
        pass
    synchronise(device.type)
    began = time.perf_counter()
    for _ in itertools.islice(batches, steps):
        pass
    synchronise(device.type)
    return round(clips * steps / (time.perf_counter() - began), 2)


def steps_of_a_turn(config: Config, batch: Batch, device: torch.device) -> int:
    """As many as take the time of a turn."""
    torch.backends.cudnn.benchmark = True  # as in training; who compares losses does without
    step = configured_step(config, batch, device)
    for _ in range(WARM_UP):
        step()
    synchronise(device.type)
    began = time.perf_counter()
    for _ in range(TIMED):
        step()
    synchronise(device.type)
    taken = (time.perf_counter() - began) / TIMED
    return max(LEAST_STEPS, math.ceil(TURN_SECONDS[device.type] / taken))


def _config(size: StepSize, device: torch.device, threads: int, listed: str = "") -> Config:
    config = Config(
        model=ModelConfig(
            name=size.model, num_segments=size.segments, num_classes=CLASSES, dropout=0.0
        ),
        data=DataConfig(
            train_list=listed,
            validation_list=listed,
            batch_size=size.clips,
            crop_size=size.pixels,
            short_side=size.pixels * 8 // 7,
        ),
        training=TrainingConfig(epochs=1, cpu_threads=threads),
        logging=LoggingConfig(progress=False, tensorboard=False),
    )
    config.training.device = "cuda" if device.type == "cuda" else "cpu"
    config.schedule.name = "constant"
    return config
