"""The Triton kernels beside every way that PyTorch has to do the same, on a GPU.

    python benchmarks/kernels.py                       everything, in at most 9 minutes
    python benchmarks/kernels.py --quick               two sizes of the block
    python benchmarks/kernels.py --operations gated-mix --clips 32
    python benchmarks/kernels.py --device cpu --tiny   does it run? Triton's interpreter, no times

Operations (``benchmarks.operations``): the short-term stem from uint8; L-TDM with the temporal
conv behind it, called block, in training and in evaluation, at the six sizes of ResNet-50; the
gated mix, the temporal conv and the fusions alone. Batches are 8 and 32 clips of 8 segments.

Peers (``benchmarks.operations.contestants``): eager PyTorch in fp32, and under AMP with bfloat16 in
NCHW and in channels_last; the arithmetic of the released code; torch.compile of our reference, and
of one rewritten in its favour (``benchmarks.operations.rewritten``); our kernels, and torch.compile
around them. Where features are small, the block also as CUDA graphs.

The bandwidth of a copy of 1 GiB is measured first. All peers are compared with float64 on the same
values before they are timed: one that is wrong is named, and the exit status is 1, as it is if
ours fails. Times are of forward, backward, and both, by CUDA events around batches of runs, peers
taking turns so that clocks drift for all: "ms" as called on an idle GPU, so that launches count,
and "gpu_ms" with the launches ahead, as in a step that the GPU is the limit of; each with 20 % and
80 % quantile. Inputs rotate, so that none is found in the cache. GB/s are ideal bytes
(``benchmarks.operations``) by gpu_ms. Launches are counted by torch's profiler
(``benchmarks.operations.launches``).

A row for each operation, size, mode and peer goes to a file of JSON lines, with device, versions
and commit; a peer that fails has the error in its row. What the time is too short for is left out,
and its rows say so. Last comes a table, and whether the targets are met.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

OPERATIONS = ("stem", "block-training", "gated-mix", "block-evaluation", "fusion", "temporal-conv")
"""In this order, so that what matters most is there if the time is short."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        Exit status: 0, or 1 if a peer is wrong or ours failed, or 2 if nothing can be measured.
    """
    options = _options(arguments)
    if options.device == "cpu":
        if not options.tiny:
            return _refuse("times of a CPU would say nothing: add --tiny to see that all runs")
        os.environ["TRITON_INTERPRET"] = "1"  # kernels ask for it when they are imported, below

    from benchmarks.operations.session import has_device, measure_all
    from benchmarks.operations.table import is_good, report

    if not has_device(options.device):
        return _refuse("needs a GPU; without one, --device cpu --tiny shows that all runs")
    rows = measure_all(options)
    print(report(rows, timed=not options.tiny))
    if options.tiny:
        print("\nThe times of --tiny say nothing.")
    return 0 if is_good(rows) else 1


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
