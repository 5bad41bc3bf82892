"""How the cost of a training step grows: with the batch, the segments, the pixels, the workers.

    python benchmarks/growth.py                       a small network on a CPU
    python benchmarks/growth.py --device cuda         ResNet-50 on a GPU

From one middle size each of batch, segments (8 to 64) and resolution is varied by itself: time of a
step, clips a second, memory, and the bytes that the forward pass keeps for the backward pass, which
do not depend on the device. Each size is measured several times, and it is said where others used
the machine meanwhile. The loader's clips a second are measured by its threads, on H.264. With
GPUs ``benchmarks/scaling.py`` varies their number, and ``benchmarks/manifest.py --clips`` the
list.

Rows go to benchmarks/results/growth-<device>.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import tdn
from benchmarks.clips.data import CLASSES, Recipe, kept_folder, make_clips
from benchmarks.harness.common import (
    aligned,
    described,
    failure,
    progress,
    results_file,
    surroundings,
)
from benchmarks.harness.rows import Result, Row, results_of, write_results
from benchmarks.harness.timing import quantiles
from benchmarks.harness.usage import Usage, is_doubtful
from benchmarks.steps.measurement import step_values as columns_of
from benchmarks.steps.peers import OURS, StepSize
from benchmarks.steps.trainee import Trainee, take_turns
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig
from tdn.machine import usable_cores

CASE = ("along", "model", "segments", "pixels", "clips", "workers")
"""Columns that say what was measured."""
MIDDLE = {"cpu": StepSize("tdn_resnet18", 8, 64, 2), "cuda": StepSize("tdn_resnet50", 8, 224, 8)}
ALONG: dict[str, dict[str, tuple[int, ...]]] = {
    "cpu": {"clips": (1, 2, 4, 8), "segments": (8, 16, 32, 64), "pixels": (64, 96, 128, 160)},
    "cuda": {
        "clips": (1, 2, 4, 8, 16, 32, 64),
        "segments": (8, 16, 32, 64),
        "pixels": (112, 160, 224, 288, 320),
    },
}
COLUMNS = (*CASE, "ms", "ms_low", "ms_high", "clips_per_s", "kept_mb", "peak_mb", "doubtful")
REPEATS = 3
"""Turns of each size."""


def sizes(device: str) -> Iterator[tuple[str, StepSize]]:
    """What is varied, and the size."""
    for along, values in ALONG[device].items():
        for value in values:
            yield along, StepSize(**dataclasses.asdict(MIDDLE[device]) | {along: value})


def step_values(size: StepSize, device: torch.device, steps: int) -> Row:
    """Of our training step of a size."""
    peer = OURS if device.type == "cuda" else OURS.without_gpu()
    try:
        trainee = Trainee(peer, size, device)
        take_turns([trainee], REPEATS, steps, splits=0)
    except Exception as error:  # most likely the memory does not suffice
        return {"error": described(error)}
    return columns_of(trainee, size)


def worker_counts(cores: int) -> list[int]:
    """Powers of two, and all cores."""
    return sorted({*(1 << power for power in range(cores.bit_length())), cores})


def loader_values(folder: Path, workers: int, device: str, options: argparse.Namespace) -> Row:
    """Of our loader with so many threads."""
    listed = make_clips(folder, "h264", Recipe(options.files), usable_cores())
    config = Config(
        model=ModelConfig(num_segments=8, num_classes=CLASSES),
        data=DataConfig(train_list=str(listed), batch_size=4, num_threads=workers),
        logging=LoggingConfig(progress=False),
    )
    config.training.device = "cuda" if device == "cuda" else "cpu"
    speeds, foreign = [], []
    with closing(tdn.create_loader(config, "train")) as loader:
        for epoch in range(options.epochs + 1):  # the first one warms up
            loader.set_epoch(epoch)
            before, clips = Usage.now(), 0
            for batch in loader:
                clips += len(batch.labels)
            used = Usage.now().since(before)
            speeds.append(clips / used.wall)
            foreign.append(used.foreign)
    middle, low, high = quantiles(speeds[1:])
    others = statistics.median(foreign[1:])
    return {
        "clips_per_s": round(middle, 2),
        "clips_per_s_low": round(low, 2),
        "clips_per_s_high": round(high, 2),
        "foreign_cores": round(others, 2),
        "doubtful": is_doubtful(others),
    }


def measure(options: argparse.Namespace) -> list[Result]:
    """All rows; they are written as they come, and say until then that the time was up."""
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    where = surroundings(options.device)
    output = options.output or results_file("growth", options.device)
    end = time.monotonic() + 60 * options.minutes
    jobs: list[tuple[Row, Callable[[], Row]]] = [
        (
            {"along": along, **dataclasses.asdict(size)},
            partial(step_values, size, device, options.steps),
        )
        for along, size in sizes(device.type)
    ]
    with kept_folder(options.data) as folder:
        for workers in worker_counts(usable_cores()):
            of_loader = partial(loader_values, folder, workers, device.type, options)
            jobs.append(({"along": "workers", "workers": workers}, of_loader))
        late = {"left_out": f"the {options.minutes:g} minutes were up"}
        rows = [case | late for case, _ in jobs]
        write_results(output, results_of("growth", CASE, rows, where))
        for number, (case, work) in enumerate(jobs):
            began = time.monotonic()
            if began > end:
                break
            try:
                rows[number] = case | work()
            except Exception as error:  # a loader that lacks its libraries, or its encoder
                rows[number] = case | failure(error)
            progress(f"{case}: {time.monotonic() - began:.0f} s")
            write_results(output, results_of("growth", CASE, rows, where))
    return results_of("growth", CASE, rows, where)


def report(results: Sequence[Result]) -> str:
    """A table."""
    lines = [
        [str(result.row.get(column, result.values.get("error", "-"))) for column in COLUMNS]
        for result in results
    ]
    return "\n".join(aligned([COLUMNS, *lines], left=(0, 1)))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write the rows.

    Returns:
        Exit status: 0, or 2 if there is no GPU.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--steps", type=int, default=2, metavar="N", help="of a turn, each size has three (2)"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: torch's choice")
    parser.add_argument("--files", type=int, default=32, metavar="N", help="for the loader (32)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="of the loader (3)")
    parser.add_argument("--minutes", type=float, default=9, help="start nothing after these (9)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where clips are kept")
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/growth.py: there is no GPU; choose --device cpu", file=sys.stderr)
        return 2
    print(report(measure(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
