"""The Triton kernels beside every way that PyTorch has to do the same, on a GPU.

    python benchmarks/kernels.py                       everything, in at most 9 minutes
    python benchmarks/kernels.py --quick               two sizes of the block
    python benchmarks/kernels.py --operations gated-mix --clips 32
    python benchmarks/kernels.py --device cpu --tiny   does it run? Triton's interpreter, no times

Operations (``benchmarks.operations``): the short-term stem from uint8; L-TDM with the temporal
conv behind it, called block, in training and in evaluation, at the six sizes of ResNet-50; the
gated mix, the temporal conv and the fusions alone. Batches are 8 and 32 clips of 8 segments.

Peers (``benchmarks.contestants``): eager PyTorch in fp32, and under AMP with bfloat16 in NCHW and
in channels_last; the arithmetic of the released code; torch.compile of our reference, and of a
reference rewritten in its favour (``benchmarks.rewritten``); our kernels, and torch.compile around
them. Where features are small, the block also as CUDA graphs.

The bandwidth of a copy of 1 GiB is measured first. All peers are compared with float64 on the same
values before they are timed: one that is wrong is named, and the exit status is 1, as it is if
ours fails. Times are of forward, backward, and both: CUDA events around batches of runs, peers
taking turns so that clocks drift for all; median, 20 % and 80 % quantile. Inputs rotate, so that
none is found in the cache. GB/s are of ideal bytes (``benchmarks.operations``). Launches are
counted by torch's profiler (``benchmarks.launches``).

A row for each operation, size, mode and peer goes to a file of JSON lines, with device, versions
and commit; a peer that fails has the error in its row. What the time is too short for is left out,
and its rows say so. Last comes a table, and whether the targets are met.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from benchmarks.measurement import Case, Machine, Row

OPERATIONS = ("stem", "block-training", "gated-mix", "block-evaluation", "fusion", "temporal-conv")
"""In this order, so that what matters most is there if the time is short."""
BLOCKS = ((128, 56), (128, 28), (256, 28), (256, 14), (512, 14), (512, 7))
"""Channels and height of the features in ResNet-50's blocks."""
SIZES = {"stem": ((3, 224),), "fusion": ((64, 56), (256, 56))}
QUICK = {"stem": ((3, 224),), "fusion": ((64, 56),)}
TINY = {"stem": ((3, 16),), "fusion": ((16, 6),)}
AHEAD = 0.45
"""Share of the time that compiling ahead may take."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        Exit status: 0, or 1 if a peer is wrong or ours failed, or 2 if nothing can be measured.
    """
    options = _options(arguments)
    end = time.monotonic() + 60 * options.minutes
    if options.device == "cpu":
        if not options.tiny:
            return _refuse("times of a CPU would say nothing: add --tiny to see that all runs")
        # Kernels ask for it when they are imported, so that the imports below wait.
        os.environ["TRITON_INTERPRET"] = "1"
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        return _refuse("needs a GPU; without one, --device cpu --tiny shows that all runs")
    torch.backends.cudnn.benchmark = True  # as in training

    from benchmarks.measurement import Machine
    from benchmarks.table import report
    from benchmarks.timing import COPIED, Effort, copy_bandwidth

    copy = copy_bandwidth(options.device, 1 << 20 if options.tiny else COPIED)
    print(f"copy: {copy:.0f} GB/s, read and written", flush=True)
    effort = Effort(rounds=1, batch_ms=0, warm_up=1) if options.tiny else Effort()
    rows = run(_cases(options), Machine(options.device, copy, effort), options, end)
    print(report(rows))
    failed = [row for row in rows if row["peer"] == "ours" and "error" in row]
    return 1 if failed or any(row.get("right") is False for row in rows) else 0


def run(cases: list[Case], machine: Machine, options: argparse.Namespace, end: float) -> list[Row]:
    """Measure cases until the time is up, and write their rows as they come."""
    from benchmarks.common import surroundings
    from benchmarks.launches import compile_ahead

    where = surroundings(machine.device) | {"copy_gb_per_s": round(machine.copy, 1)}
    if options.commit:
        where["commit"] = options.commit
    output = options.output
    if output is None and not options.tiny:
        device = re.sub(r"\W+", "-", str(where["device"])).lower()
        output = ROOT / "benchmarks/results" / f"kernels-{device}.jsonl"
    launches = {}
    if machine.device == "cuda":
        jobs = [job for case in cases for job in case.jobs(machine.device)]
        jobs.sort(key=lambda job: not job.peer.compiled)
        launches = compile_ahead(jobs, AHEAD * (end - time.monotonic()))
        print(f"compiled ahead: {len(launches)} of {len(jobs)}", file=sys.stderr, flush=True)
    rows: list[Row] = []
    for number, case in enumerate(cases, start=1):
        start = time.monotonic()
        if start > end:
            found = case.left_out(f"the {options.minutes:g} minutes were up")
        else:
            found = case.measure(machine, launches)
            taken = time.monotonic() - start
            print(f"{number}/{len(cases)} {case}: {taken:.1f} s", file=sys.stderr, flush=True)
        rows += [row | where for row in found]
        _write(output, rows)
    return rows


def _cases(options: argparse.Namespace) -> list[Case]:
    from benchmarks.measurement import Case
    from benchmarks.operations import OPERATIONS as CLASSES
    from benchmarks.operations import Size

    classes = {operation.name: operation for operation in CLASSES}
    table, blocks, clips, segments = SIZES, BLOCKS, options.clips, 8
    if options.quick:
        table, blocks, clips = QUICK, (BLOCKS[0], BLOCKS[-1]), options.clips[:1]
    if options.tiny:
        table, blocks, clips, segments = TINY, ((64, 6),), [1], 3
    return [
        Case(classes[name], Size(channels, height, count, segments))
        for name in options.operations
        for count in clips
        for channels, height in table.get(name, blocks)
    ]


def _write(path: Path | None, rows: list[Row]) -> None:
    """All rows so far: what a run was cut off in is there."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _refuse(message: str) -> int:
    print(f"benchmarks/kernels.py: {message}", file=sys.stderr)
    return 2


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--operations",
        nargs="+",
        choices=OPERATIONS,
        default=OPERATIONS,
        metavar="NAME",
        help=f"of {', '.join(OPERATIONS)} (all)",
    )
    parser.add_argument("--clips", nargs="+", type=int, default=[8, 32], metavar="N", help="(8 32)")
    parser.add_argument("--quick", action="store_true", help="two sizes of the block, one N")
    parser.add_argument("--tiny", action="store_true", help="a size whose times say nothing")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument(
        "--minutes", type=float, default=8.5, help="start no measurement after these (8.5)"
    )
    parser.add_argument("--commit", help="of the code, where its folder is no git checkout")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="written anew (benchmarks/results/kernels-<device>.jsonl; nothing with --tiny)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
