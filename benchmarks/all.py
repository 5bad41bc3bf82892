"""All benchmarks in one call, in the time there is, on what the machine has.

    python -m benchmarks.all                    into benchmarks/results; on a GPU if there is one
    python -m benchmarks.all --quick --out /tmp/results
    python benchmarks/compare.py benchmarks/results /tmp/results

Nine minutes at most, in all; each benchmark gets a share of what is left of them, and what it
cannot measure in it stands in its rows as left out. Benchmarks run one after the other, each in its
own process, so that one that fails takes nothing from the others: then its former results stay, if
it has any, and what it wrote lies beside its output in DIR/logs. The table at the end says what was
measured, what was left out, and why, and is followed by the targets; charts and tables are then
made of the results by ``python -m benchmarks.charts``. A target that this run did not measure, but
former results tell of, is said to be from an earlier run.

Exit status: 0, or 1 if a benchmark failed or found something wrong, or 2 if there is none of a
name. A target that is missed is no failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.clips.data import kept_folder
from benchmarks.harness.common import RESULTS, aligned, results_file
from benchmarks.harness.rows import REASONS, read_all, read_results
from benchmarks.harness.usage import age, descendants
from benchmarks.pages.targets import NOT_MEASURED, judge
from tdn.errors import UserError

HERE = Path(__file__).parent
MINUTES = 9.0
SAID = 0.85
"""Of its time a benchmark is told that it has: after these it starts nothing more."""
MARGIN = 1.25
"""Times its time after which a benchmark is ended,"""
UNTOLD_MARGIN = 2.0
"""and one that does not know its time,"""
KEPT = 0.8
"""as long as those that come later keep so much of theirs."""
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
    variant: str = ""
    """Of its results' name, if it runs more than once."""
    timed: bool = True
    """Whether it takes --minutes."""
    with_device: bool = True
    """Whether it takes --device."""
    with_data: bool = False
    """Whether it takes --data, where all keep the clips that they make."""

    @property
    def full_name(self) -> str:
        """With the variant."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def results(self, device: str, folder: Path) -> Path:
        """The file of its results."""
        file = results_file(self.name, device, folder)
        return file.with_stem(f"{file.stem}-{self.variant}") if self.variant else file


ON_CPU = (
    Part("manifest", 0.08, ("--clips", "10000", "1000000", "10000000", "--runs", "1"),
         ("--clips", "10000"), timed=False, with_device=False),
    Part("gate", 0.07, timed=False, with_device=False),
    Part("trainer_overhead", 0.07, ("--rounds", "12"), ("--rounds", "3"), timed=False),
    Part("trainer_overhead", 0.06, ("--processes", "2", "--rounds", "6"), ("--rounds", "3"),
         "2-processes", timed=False),
    Part("scaling", 0.06, ("--rounds", "10"), ("--rounds", "3"), timed=False),
    Part("growth", 0.10, quick=("--steps", "1", "--epochs", "1"), with_data=True),
    Part("pipeline", 0.26, ("--quick", "--clips", "32", "--rounds", "2", "--seconds", "1.5"),
         ("--rounds", "1", "--seconds", "1", "--clips", "16"), with_data=True),
    Part("training", 0.30, ("--rounds", "7"), ("--quick", "--parts", "steps", "files"),
         with_data=True),
)  # fmt: skip
"""What takes a time of its own comes first: what it leaves over is training's."""
ON_GPU = (
    Part("kernels", 0.20, ("--quick",)),
    Part("gate", 0.06, timed=False, with_device=False),
    Part("manifest", 0.05, ("--clips", "10000", "1000000", "10000000", "--runs", "1"),
         ("--clips", "10000"), timed=False, with_device=False),
    Part("trainer_overhead", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "5"),
         timed=False),
    Part("scaling", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "8"), timed=False),
    Part("growth", 0.07, quick=("--steps", "2"), with_data=True),
    Part("pipeline", 0.12, ("--quick", "--clips", "32", "--rounds", "2"),
         ("--rounds", "1", "--clips", "16"), with_data=True),
    Part("training", 0.40, (), ("--quick",), with_data=True),
)  # fmt: skip
"""Training is last: nobody knows how long compilers take."""


def words_of(part: Part, quick: bool, device: str, seconds: float, data: Path) -> list[str]:
    """What a benchmark is called with, but for its output.

    Args:
        part: The benchmark.
        quick: Whether the run is.
        device: "cpu" or "cuda".
        seconds: That it has.
        data: For clips.
    """
    words = [*part.words, *(part.quick if quick else ())]
    if part.with_device:
        words += ["--device", device]
    if part.with_data:
        words += ["--data", str(data)]
    if part.timed:
        words += ["--minutes", f"{SAID * seconds / 60:.2f}"]
    return words


def run_part(part: Part, words: Sequence[str], log: Path, output: Path, limit: float) -> str:
    """Run a benchmark; its rows take the place of former ones if it succeeds, or there are none.

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
    problem = f"ended after {limit:.0f} s" if status is None else f"status {status}"
    if not fresh.exists():
        return f"{problem}, wrote no results, see {log}"
    if status == 0:
        fresh.replace(output)
        return ""
    if not output.exists():  # some are better than none
        shutil.copyfile(fresh, output)
    return f"{problem}, see {log}"


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


def times_of(parts: Sequence[Part], number: int, left: float, total: float) -> tuple[float, float]:
    """Seconds that a benchmark has, and those after which it is ended.

    Args:
        parts: All of them.
        number: Its place among them.
        left: Seconds.
        total: Seconds that there were for all.
    """
    part, later = parts[number], sum(part.share for part in parts[number + 1 :])
    seconds = left * part.share / (part.share + later)
    kept = KEPT * total * later / sum(part.share for part in parts)
    margin = MARGIN if part.timed else UNTOLD_MARGIN
    return seconds, min(left, max(seconds, min(margin * seconds, left - kept)))


def run_all(
    parts: Sequence[Part], options: argparse.Namespace, device: str, end: float
) -> tuple[list[tuple[str, ...]], int]:
    """Run benchmarks one after the other; what one leaves over of its time goes to the next.

    Returns:
        A table of what became of them, and the exit status.
    """
    lines: list[tuple[str, ...]] = [("benchmark", "seconds", "rows", "not measured", "")]
    status = 0
    total = end - time.monotonic()
    with kept_folder(None) as data:
        for number, part in enumerate(parts):
            began = time.monotonic()
            left = end - began
            seconds, limit = times_of(parts, number, left, total)
            output = part.results(device, options.out)
            log = options.out / "logs" / f"{part.full_name}.txt"
            if seconds < LEAST:
                log.parent.joinpath(output.name).unlink(missing_ok=True)
                problem = "left out: the time was up"
            else:
                words = words_of(part, options.quick, device, seconds, data)
                problem = run_part(part, words, log, output, limit)
            status |= bool(problem)
            rows = log.parent / output.name if problem else output
            took = f"{time.monotonic() - began:.0f}"
            lines.append((part.full_name, took, *summary(problem, rows)))
            print(" ".join(lines[-1]), flush=True)
    return lines, status


def written(folder: Path) -> dict[Path, int]:
    """The files of results, and when each was written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("*.jsonl")}


def verdicts(folder: Path, former: Mapping[Path, int]) -> list[tuple[str, ...]]:
    """What became of the targets, by this run's results; else by those of an earlier run.

    Args:
        folder: Of the results.
        former: As ``written`` had it before the run.
    """
    now = written(folder)
    fresh = [
        result
        for file in sorted(now)
        if now[file] != former.get(file)
        for result in read_results(file)
    ]
    lines: list[tuple[str, ...]] = [("target", "demanded", "measured", "verdict")]
    for mine, any_run in zip(judge(fresh), judge(read_all(folder)), strict=True):
        found = mine if mine.verdict != NOT_MEASURED else any_run
        earlier = ", from an earlier run" if found.verdict != mine.verdict else ""
        lines.append((found.name, found.target, found.measured, found.verdict + earlier))
    return lines


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
    begun = age() if words is None else 0.0  # what is imported takes of the time, too
    end = time.monotonic() - begun + 60 * options.minutes
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts: tuple[Part, ...] = ON_GPU if device == "cuda" else ON_CPU
    if unknown := {*(options.only or ())} - {part.name for part in parts}:
        known = ", ".join(part.name for part in parts)
        print(f"benchmarks/all.py: no {', '.join(sorted(unknown))} here; there are {known}",
              file=sys.stderr)  # fmt: skip
        return 2
    parts = tuple(part for part in parts if options.only is None or part.name in options.only)
    former = written(options.out)
    lines, status = run_all(parts, options, device, end)
    print("\n".join(map(str.rstrip, aligned(lines, left=(0, 3, 4)))))
    targets = aligned(verdicts(options.out, former), left=(0, 1, 3))
    print("\n".join(("", *map(str.rstrip, targets))))
    return status


if __name__ == "__main__":
    sys.exit(main())
