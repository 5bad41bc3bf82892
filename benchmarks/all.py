"""All benchmarks in one call, in the time there is, on what the machine has.

    python -m benchmarks.all                    into benchmarks/results; on a GPU if there is one
    python -m benchmarks.all --quick --out /tmp/results
    python benchmarks/compare.py benchmarks/results /tmp/results

Nine minutes at most, in all; each benchmark gets a share of them, and what it cannot measure in it
stands in its rows as left out. Benchmarks run one after the other, each in its own process, so that
one that fails takes nothing from the others. The table at the end says what was measured, what was
left out, and why; charts and README's tables are then made of the results by
``python -m benchmarks.charts``.

Exit status: 0, or 1 if a benchmark failed or found something wrong.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.common import aligned, slug, surroundings
from benchmarks.rows import REASONS, read_results
from tdn.errors import UserError

HERE = Path(__file__).parent
MINUTES = 9.0
MARGIN = 1.25
"""How much longer than its share a benchmark may take until it is ended."""


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


ON_CPU = (
    Part("training", 0.32, ("--rounds", "7"), ("--quick", "--parts", "steps", "files")),
    Part("pipeline", 0.30, ("--quick",), ("--rounds", "1", "--seconds", "1")),
    Part("growth", 0.14, quick=("--steps", "2", "--epochs", "1")),
    Part("scaling", 0.08, quick=("--rounds", "3"), timed=False),
    Part("trainer_overhead", 0.08, ("--rounds", "60"), ("--rounds", "10"), timed=False),
    Part("manifest", 0.04, ("--clips", "10000", "1000000", "--runs", "2"), timed=False),
    Part("gate", 0.04, timed=False),
)
ON_GPU = (
    Part("kernels", 0.30, ("--quick",)),
    Part("training", 0.32, (), ("--quick",)),
    Part("pipeline", 0.18, ("--quick", "--device", "cuda"), ("--rounds", "1")),
    Part("growth", 0.10, quick=("--steps", "2")),
    Part("scaling", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "8"), timed=False),
    Part("trainer_overhead", 0.05, ("--config", "configs/ssv2_r50_8f.yaml", "--rounds", "10"),
         timed=False),
)  # fmt: skip


def run_part(part: Part, options: argparse.Namespace, device: str, name: str) -> tuple[str, Path]:
    """Run a benchmark.

    Returns:
        What became of it, "" if all is well, and where its rows are.
    """
    output = options.out / f"{part.name.replace('_', '-')}-{name}.jsonl"
    seconds = 60 * options.minutes * part.share
    words = [*part.words, *(part.quick if options.quick else ())]
    if part.name not in ("manifest", "gate"):
        words += ["--device", device]
    if part.timed:
        words += ["--minutes", f"{0.8 * seconds / 60:.2f}"]
    command = [sys.executable, str(HERE / f"{part.name}.py"), *words, "--output", str(output)]
    output.unlink(missing_ok=True)
    log = options.out / "logs" / f"{part.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        try:
            done = subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=MARGIN * seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"ended after {MARGIN * seconds:.0f} s, see {log}", output
    return ("" if done.returncode == 0 else f"status {done.returncode}, see {log}"), output


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
        "--out", type=Path, default=HERE / "results", metavar="DIR", help="(benchmarks/results)"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"in all ({MINUTES:g})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these benchmarks")
    options = parser.parse_args(words)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = "cpu" if device == "cpu" else slug(str(surroundings(device)["device"]))
    parts = [part for part in (ON_GPU if device == "cuda" else ON_CPU)
             if options.only is None or part.name in options.only]  # fmt: skip
    lines, status = [("benchmark", "seconds", "rows", "not measured", "")], 0
    for part in parts:
        began = time.monotonic()
        problem, output = run_part(part, options, device, name)
        status |= bool(problem)
        lines.append((part.name, f"{time.monotonic() - began:.0f}", *summary(problem, output)))
        print(" ".join(lines[-1]), flush=True)
    print("\n".join(map(str.rstrip, aligned(lines, left=(0, 3, 4)))))
    return status


if __name__ == "__main__":
    sys.exit(main())
