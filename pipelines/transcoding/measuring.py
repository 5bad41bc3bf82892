"""How fast random segments are decoded from a data set and from its copy."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from tdn.config import DataConfig
from tdn.devices import resolve_device
from tdn.machine import usable_cores
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.loader import Batch, Loader
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sampling.plans import Planner
from tdn.pipelines.streaming.stream import Position
from tdn.pipelines.transcoding.run import CopyReport

_SEGMENTS = 8
_BATCH = 8
_WARM_UP = 3
"""Batches before the clock starts: until then the pipeline is filled."""
_ROUNDS = 3
_SECONDS = 4.0
"""Of each round and side, at least."""


class Speed(NamedTuple):
    """What decoding costs."""

    clips_per_second: float
    cpu_seconds: float
    """Of this process, per clip."""


class Comparison(NamedTuple):
    """A data set and its copy; the text is what ``tdn transcode --measure`` prints."""

    original: Speed
    copy: Speed
    crop: int
    batch: int
    threads: int
    device: str

    def __str__(self) -> str:
        gain = self.copy.clips_per_second / self.original.clips_per_second
        heading = (
            f"random 5-frame segments, {_SEGMENTS} a clip, {self.crop} x {self.crop} pixels, "
            f"batches of {self.batch}, {self.threads} threads, {self.device}, "
            f"medians of {_ROUNDS} rounds:"
        )
        lines = [
            f"  {name:8}  {speed.clips_per_second:8.1f} clips/s  "
            f"{1000 * speed.cpu_seconds:8.1f} CPU-ms per clip"
            for name, speed in (("original", self.original), ("copy", self.copy))
        ]
        saving = self.original.cpu_seconds / self.copy.cpu_seconds
        lines += [f"  the copy gives {gain:.2f}x the clips/s, for 1/{saving:.2f} of the CPU time"]
        return "\n".join([heading, *lines])


def compare(report: CopyReport, *, crop: int = 224, seconds: float = _SECONDS) -> Comparison:
    """Decode training plans from both, in turns, through the loader that training uses.

    The same clips and frame numbers on both sides, in the same order.

    Args:
        report: What ``transcode`` returned.
        crop: Network input, pixels.
        seconds: Length of each of the measurements, at least.
    """
    batch, device = min(_BATCH, len(report.rows)), resolve_device("auto")
    data = DataConfig(
        batch_size=batch, num_threads=usable_cores(), crop_size=crop, shuffle_shards=0
    )
    copy = manifest_of(report.source, progress=False)
    sides: tuple[tuple[Manifest, list[int]], ...] = (
        (report.manifest, report.rows),
        (copy, copy.usable.tolist()),
    )
    rounds: list[list[Speed]] = [
        [_speed(_loader(manifest, rows, data, device), seconds) for manifest, rows in sides]
        for _ in range(_ROUNDS)
    ]
    medians = np.median(np.array(rounds), axis=0)
    original, copied = (Speed(*map(float, speeds)) for speeds in medians)
    return Comparison(original, copied, crop, batch, data.num_threads, str(device))


def _loader(manifest: Manifest, rows: list[int], data: DataConfig, device: torch.device) -> Loader:
    planner = Planner(manifest, data, _SEGMENTS, train=True)
    planner.rows = np.array(rows, np.int32)
    return Loader(planner, device, Position(0, 0))


def _speed(loader: Loader, seconds: float) -> Speed:
    """Steady speed: the clock starts and stops when a batch is handed over."""
    batches = _endless(loader)
    for _ in range(_WARM_UP):
        next(batches)
    clips, began, cpu = 0, _now(loader), time.process_time()
    while _now(loader) - began < seconds:
        clips += len(next(batches).labels)
    speed = Speed(clips / (_now(loader) - began), (time.process_time() - cpu) / clips)
    loader.close()
    return speed


def _endless(loader: Loader) -> Iterator[Batch]:
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def _now(loader: Loader) -> float:
    if loader.device.type == "cuda":
        torch.cuda.synchronize(loader.device)
    return time.perf_counter()
