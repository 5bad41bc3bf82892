"""What the trainer costs beside the training itself: its loop against a bare one, in turns.

    python benchmarks/trainer_overhead.py                    the demo's network, one CPU thread
    python benchmarks/trainer_overhead.py --processes 2      the same on two processes
    python benchmarks/trainer_overhead.py --device cuda --config configs/ssv2_r50_8f.yaml

A real run (``tdn.training.trainer.train``) with everything on: log, TensorBoard, metrics, clock,
the question whether to stop, watchdog. Its loader gives the same batch again and again, which lies
on the device, so nothing is decoded. Every few steps, when the run asks for its next batch, the
loader first lets a bare loop take as many: forward, loss, backward, clipping and optimizer, on a
network, batch and optimizer of the same kind. Each turn of the run is compared with the mean of the
bare turns before and after it; the median of these ratios counts, in time and in CPU time of the
process (of the first one, if there are several). A turn is 20 steps, and writes to the log once, as
runs do by default.

Not in it: decoding, and the way of the clips to the device; checkpoints, of which a run writes one
every ten minutes, and validations; and options that are off by default, such as EMA, mixup or
leaving out steps that are not finite. With one process, what several tell each other is not in it
either: whether to stop, after every step, and sums and clocks at each line of the log. They average
their gradients in both loops, by the same means.

A row goes to benchmarks/results/trainer-overhead-<device>[-N-processes].jsonl. The last line
says whether the overhead is below 3 % (on a CPU, of CPU time).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.common import results_file, surroundings, synchronise
from benchmarks.harness.resident_run import ResidentLoader, run
from benchmarks.harness.resident_step import BareStep, configured_step, resident_batch
from benchmarks.harness.rows import results_of, write_results
from benchmarks.harness.timing import MEDIAN
from benchmarks.harness.usage import Usage
from tdn.config import Config
from tdn.config_loading import load_config
from tdn.devices import resolve_device
from tdn.pipelines.batch import Batch
from tdn.training.precision import choose_precision
from tdn.training.processes.distributed import Processes

ROOT = Path(__file__).parents[1]
CASE = ("model", "width", "shape", "processes", "precision", "optimizer")
"""Columns that say what was measured."""
TARGET = 3.0
"""Percent."""


class Cost(NamedTuple):
    """Of a step, in milliseconds."""

    time: float
    cpu: float


class Turns:
    """Lets the run and the bare loop take turns, and measures each.

    Args:
        bare_step: A step of the bare loop.
        steps: Of a turn.
        device: "cpu" or "cuda".
    """

    def __init__(self, bare_step: Callable[[], object], steps: int, device: str) -> None:
        self._bare_step = bare_step
        self._steps = steps
        self._device = device
        self._began: Cost | None = None
        self.trainer: list[Cost] = []
        self.bare: list[Cost] = []

    def change(self) -> None:
        """The run has ended a turn, if it had one: the bare loop takes its own."""
        if self._began is not None:
            self.trainer.append(self._since(self._began))
        began = self._now()
        for _ in range(self._steps):
            self._bare_step()
        self.bare.append(self._since(began))
        self._began = self._now()

    def _now(self) -> Cost:
        synchronise(self._device)
        return Cost(1e3 * time.perf_counter(), 1e3 * time.process_time())

    def _since(self, began: Cost) -> Cost:
        now = self._now()
        return Cost((now.time - began.time) / self._steps, (now.cpu - began.cpu) / self._steps)


def measure(config: Config, rounds: int, steps: int) -> dict[str, Any]:
    """Overhead of a configuration's network and batch; under ``torchrun`` on each process.

    Args:
        config: ``model``, ``optimizer``, ``data.batch_size`` and ``data.crop_size`` count, and
            ``training.device``.
        rounds: Turns of the run that count; one more warms up.
        steps: Of a turn.
    """
    device = resolve_device(config.training.device)
    batch = resident_batch(config, device)
    before = Usage.now()
    turns = take_turns(config, batch, rounds, steps)
    usage = Usage.now().since(before)
    return {
        "model": config.model.name,
        "width": config.model.width,
        "shape": list(batch.clips.shape),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
        "precision": choose_precision(config.training.precision, device).name,
        "optimizer": config.optimizer.name,
        "rounds": rounds,
        "steps_a_turn": steps,
        **summary(turns),
        "foreign_cores": round(usage.foreign, 2),
    }


def take_turns(config: Config, batch: Batch, rounds: int, steps: int) -> Turns:
    """Run the trainer and the bare loop on a batch; the rest is as ``measure`` has it."""
    device = resolve_device(config.training.device)
    bare = BareLoop(config, batch, device)
    turns = Turns(bare, steps, device.type)
    end = (rounds + 1) * steps

    def before_step(step: int) -> None:
        if step % steps == 0:
            turns.change()
        if step == end:
            bare.close()

    config.training.epochs, config.training.log_every = 1, steps
    config.schedule.name = "constant"
    run(config, ResidentLoader(batch, end + 1, before_step))  # the last one asks for a batch
    return turns


def summary(turns: Turns) -> dict[str, float]:
    """Medians of the turns, without the first of each."""
    trainer, bare = turns.trainer[1:], turns.bare[1:]
    found: dict[str, float] = {}
    for kind in Cost._fields:
        mine = [getattr(cost, kind) for cost in trainer]
        theirs = [getattr(cost, kind) for cost in bare]
        beside = [(a + b) / 2 for a, b in pairwise(theirs)]
        ratios = [100 * (own / other - 1) for own, other in zip(mine, beside, strict=True)]
        spread = MEDIAN * statistics.stdev(ratios) / math.sqrt(len(ratios)) if mine[1:] else 0.0
        found |= {
            f"{kind}_ms_trainer": round(statistics.median(mine), 3),
            f"{kind}_ms_bare": round(statistics.median(theirs), 3),
            f"{kind}_overhead_percent": round(statistics.median(ratios), 2),
            f"{kind}_overhead_error": round(spread, 2),
        }
    return found


class BareLoop:
    """Steps with nothing around them.

    The network is made with the first step: the run's group of processes is there then. It must be
    let go of before that is left.

    Args:
        config: Of the run.
        batch: What it trains on.
        device: Where.
    """

    def __init__(self, config: Config, batch: Batch, device: torch.device) -> None:
        self._given = config, batch, device
        self._step: BareStep | None = None

    def __call__(self) -> None:
        """Make a step."""
        if self._step is None:
            self._step = configured_step(*self._given, place=self._place())
        self._step()

    def close(self) -> None:
        """Let go of the network."""
        self._step = None

    def _place(self) -> Processes | None:
        if not dist.is_initialized():
            return None
        return Processes(dist.get_rank(), dist.get_world_size(), self._given[-1])


def main(words: list[str] | None = None) -> int:
    """Measure, print and write a row.

    Returns:
        Exit status: 0, or 2 if there is no GPU.
    """
    words = sys.argv[1:] if words is None else words
    options = _options(words)
    if options.device == "cuda" and torch.cuda.device_count() < options.processes:
        print(
            "benchmarks/trainer_overhead.py: there is no GPU for each process; choose --device cpu"
        )
        return 2
    if "RANK" in os.environ:
        _measure_and_write(options)
        return 0
    if options.processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        number = ["--nproc-per-node", str(options.processes)]
        # torchrun would say that it sets this, in a box of stars.
        environment = {"OMP_NUM_THREADS": str(options.threads or 1), **os.environ}
        subprocess.run([*torchrun, *number, __file__, *words], check=True, env=environment)
    else:
        _measure_and_write(options)
    return 0


def _measure_and_write(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    config = load_config(options.config, ["--training.device", options.device])
    config.training.cpu_threads = options.threads
    row = measure(config, options.rounds, options.steps)
    if os.environ.get("RANK", "0") != "0":
        return
    print(
        f"{row['time_ms_trainer']} ms a step, bare {row['time_ms_bare']} ms: "
        f"{row['time_overhead_percent']} +- {row['time_overhead_error']} % of time, "
        f"{row['cpu_overhead_percent']} +- {row['cpu_overhead_error']} % of CPU time "
        f"({row['foreign_cores']} cores were busy with other work)"
    )
    # Other programs take time from a CPU, but no CPU time.
    beyond = row[f"{'cpu' if options.device == 'cpu' else 'time'}_overhead_percent"] - TARGET
    print(f"target: below {TARGET:g} %: {'met' if beyond < 0 else f'MISSED by {beyond:.2f} %'}")
    results = results_of("trainer_overhead", CASE, [row], surroundings(options.device))
    write_results(_results(options), results)


def _results(options: argparse.Namespace) -> Path:
    """The file for the row."""
    file = options.output or results_file("trainer_overhead", options.device)
    if options.processes > 1 and options.output is None:
        file = file.with_stem(f"{file.stem}-{options.processes}-processes")
    return Path(file)


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "configs" / "demo.yaml"
    parser.add_argument("--config", type=Path, default=default, metavar="FILE", help="(the demo's)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that train (1)")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="turns of each (30)")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of a turn (20)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of a process (1)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
