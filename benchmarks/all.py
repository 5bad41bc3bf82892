"""All benchmarks in one call, in the time there is, on what the machine has.

    python -m benchmarks.all                    into benchmarks/results; on a GPU if there is one
    python -m benchmarks.all --quick --out /tmp/results
    python benchmarks/compare.py benchmarks/results /tmp/results

Nine minutes at most, in all; each benchmark gets a share of what is left of them, and what it
cannot measure in it stands in its rows as left out. Benchmarks run one after the other, each in its
own process, so that one that fails takes nothing from the others: then its former results stay, and
what it wrote lies beside its output in DIR/logs. The table at the end says what was measured, what
was left out, and why, and is followed by the targets; charts and README's tables are then made of
the results by ``python -m benchmarks.charts``.

Exit status: 0, or 1 if a benchmark failed or found something wrong, or 2 if there is none of a
name. A target that is missed is no failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.harness.common import RESULTS, aligned, results_file
from benchmarks.harness.rows import REASONS, read_all, read_results
from benchmarks.harness.usage import descendants
from benchmarks.pages.targets import judge
from tdn.errors import UserError

HERE = Path(__file__).parent
MINUTES = 9.0
SAID = 0.8
"""Of its time a benchmark is told that it has: after these it starts nothing more."""
MARGIN = 1.25
"""Times its time after which a benchmark is ended."""
LEAST = 0.2
"""Seconds with which it is worth starting one."""


@dataclass(frozen=True)
class Part:
    """A benchmark, as it is called here."""

    name: str
    """Of its file, and of its results'."""
    share: float
    """Of the time."""
    words: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    """Further words of a quick run."""
    timed: bool = True
    """Whether it takes --minutes."""
    with_device: bool = True
    """Whether it takes --device."""


ON_CPU = (
    Part("training", 0.30, ("--rounds", "7"), ("--quick", "--parts", "steps", "files")),
    Part("pipeline", 0.24, ("--quick",), ("--rounds", "1", "--seconds", "1")),
    Part("growth", 0.13, quick=("--steps", "2", "--epochs", "1")),
    Part("scaling", 0.07, quick=("--rounds", "3"), timed=False),
    Part("trainer_overhead", 0.06, ("--rounds", "60"), ("--rounds", "10"), timed=False),
    Part("gate", 0.10, timed=False, with_device=False),
    Part("manifest", 0.10, ("--clips", "10000", "1000000", "10000000", "--runs", "1"),
         ("--clips", "10000"), timed=False, with_device=False),
)  # fmt: skip
ON_GPU = (
    Part("kernels", 0.30, ("--quick",)),
    Part("training", 0.32, (), ("--quick",)),
    Part("pipeline", 0.18, ("--quick", "--device", "cuda"), ("--rounds", "1")),
    Part("growth", 0.10, quick=("--steps", "2")),
    Part("scaling", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "8"), timed=False),
    Part("trainer_overhead", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "10"),
         timed=False),
)  # fmt: skip


def words_of(part: Part, quick: bool, device: str, seconds: float) -> list[str]:
    """What a benchmark is called with, but for its output.

    Args:
        part: The benchmark.
        quick: Whether the run is.
        device: "cpu" or "cuda".
        seconds: That it has.
    """
    words = [*part.words, *(part.quick if quick else ())]
    if part.with_device:
        words += ["--device", device]
    if part.timed:
        words += ["--minutes", f"{SAID * seconds / 60:.2f}"]
    return words


def run_part(part: Part, words: Sequence[str], log: Path, output: Path, limit: float) -> str:
    """Run a benchmark; its rows take the place of former ones if it succeeds.

    Args:
        part: The benchmark.
        words: As of ``words_of``.
        log: For what it says; its rows stay beside it if it fails.
        output: For its rows.
        limit: Seconds after which it is ended, with all that it has started.

    Returns:
        What became of it, "" if all is well.
    """
    fresh = log.parent / output.name
    fresh.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / f"{part.name}.py"), *words, "--output", str(fresh)]
    with log.open("w") as file:
        status = run_group(command, file, limit)
    if status is None:
        return f"ended after {limit:.0f} s, see {log}"
    if status:
        return f"status {status}, see {log}"
    if not fresh.exists():
        return f"wrote no results, see {log}"
    fresh.replace(output)
    return ""


def run_group(command: Sequence[str], output: IO[str], limit: float) -> int | None:
    """Run a command; whatever it has started ends with it.

    Returns:
        Its exit status, or None if it was ended after ``limit`` seconds.
    """
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        started = descendants(process.pid)  # torchrun's workers have sessions of their own
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for number in started:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def summary(problem: str, output: Path) -> tuple[str, str, str]:
    """Rows that were measured, rows that were not and why, and what else there is to say."""
    try:
        results = read_results(output)
    except UserError:
        return "0", "", problem or "no results"
    missing: dict[str, int] = {}
    for result in results:
        for reason in REASONS:
            if reason in result.values:
                text = f"{reason.replace('_', ' ')}: {result.values[reason]}"
                missing[text] = missing.get(text, 0) + 1
    measured = len(results) - sum(missing.values())
    why = "; ".join(f"{count} x {text}" for text, count in missing.items())
    return str(measured), why, problem


def main(words: Sequence[str] | None = None) -> int:
    """Run all that fits the machine; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help="(benchmarks/results)"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"in all ({MINUTES:g})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks")
    options = parser.parse_args(words)
    end = time.monotonic() + 60 * options.minutes
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = ON_GPU if device == "cuda" else ON_CPU
    if unknown := {*(options.only or ())} - {part.name for part in parts}:
        known = ", ".join(part.name for part in parts)
        print(f"benchmarks/all.py: no {', '.join(sorted(unknown))} here; there are {known}",
              file=sys.stderr)  # fmt: skip
        return 2
    parts = tuple(part for part in parts if options.only is None or part.name in options.only)
    lines, status = [("benchmark", "seconds", "rows", "not measured", "")], 0
    for number, part in enumerate(parts):
        began = time.monotonic()
        left = end - began
        seconds = left * part.share / sum(later.share for later in parts[number:])
        output = results_file(part.name, device, options.out)
        log = options.out / "logs" / f"{part.name}.txt"
        if seconds < LEAST:
            log.parent.joinpath(output.name).unlink(missing_ok=True)
            problem = "left out: the time was up"
        else:
            words = words_of(part, options.quick, device, seconds)
            problem = run_part(part, words, log, output, min(MARGIN * seconds, left))
        status |= bool(problem)
        rows = log.parent / output.name if problem else output
        lines.append((part.name, f"{time.monotonic() - began:.0f}", *summary(problem, rows)))
        print(" ".join(lines[-1]), flush=True)
    print("\n".join(map(str.rstrip, aligned(lines, left=(0, 3, 4)))))
    verdicts = [astuple(verdict) for verdict in judge(read_all(options.out))]
    targets = aligned([("target", "demanded", "measured", "verdict"), *verdicts], left=(0, 1, 3))
    print("\n".join(("", *map(str.rstrip, targets))))
    return status


if __name__ == "__main__":
    sys.exit(main())
