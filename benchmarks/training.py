"""Training steps of ours and of the released code, from memory and from files.

    python benchmarks/training.py                       on a CPU
    python benchmarks/training.py --device cuda         ResNet-50, T = 8 and 16, and ResNet-101
    python benchmarks/training.py --quick --parts steps

steps: forward, backward and update on clips that lie on the device, for the released code's order
of arithmetic with torch's defaults (a), all in TF32, under AMP (b), and under AMP in channels_last
by torch.compile (c); for ours (d), and ours by torch.compile and as CUDA graphs (e). On a CPU:
(a), (a) in channels_last and (d), all in fp32; --compile adds the compiled ones, after minutes.
All start from the same weights and see the same clips; a peer whose losses leave those of strict
fp32 by more than rounding does is wrong and not timed. Ours gets uint8 clips, the others floats
that are normalised already. They take turns, and each ratio is of the same rounds. What is compiled
comes after what targets are of, each for itself beside (a), and may take all the time that is left.

roofline: what the operators of a step take beyond what the device's matrix products and copies
allow; the three largest gaps have rows of their own.

files: a run of the trainer takes turns with clips of files and of memory; what a step from files
takes longer is the stall. Files come from the page cache (warm), or from the disk (cold). The
source "memory" is the control, memory in both turns. From these and the steps follows how long an
epoch of the published data sets takes on 1, 8 and 64 GPUs (``benchmarks.pages.epochs``).

Rows go to benchmarks/results/training-<device>.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.clips.data import JPEG, SHORT_GOP, SOURCES
from benchmarks.harness.common import aligned
from benchmarks.harness.rows import REASONS, Result
from benchmarks.pages.epochs import epochs
from benchmarks.pages.targets import judge
from benchmarks.steps.copies import SHARDS
from benchmarks.steps.peers import PLAIN, StepSize
from benchmarks.steps.session import measure_all

PARTS = ("steps", "roofline", "files")
QUICK = (JPEG, SHORT_GOP)
"""The sources of --quick,"""
DECODED_ON_CPUS = (*QUICK, "h264", "vp9", SHARDS)
"""of a run on a CPU,"""
ALL = (*DECODED_ON_CPUS, *(source for source in SOURCES if source not in DECODED_ON_CPUS))
"""and of one on a GPU, what matters most first."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        Exit status: 0, or 1 if a peer is wrong, or ours or the reference failed, or 2 if there is
        no GPU. A target that is missed is no failure.
    """
    options = _options(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("benchmarks/training.py: there is no GPU; choose --device cpu", file=sys.stderr)
        return 2
    results = measure_all(options)
    print(report(results))
    return 0 if is_good(results) else 1


def is_good(results: Iterable[Result]) -> bool:
    """Whether nobody is wrong, and ours and the reference ran; how fast is another question."""
    for result in results:
        peer = str(result.case.get("peer", "ours"))
        needed = peer.startswith("ours") or peer == PLAIN.name
        if "wrong" in result.values or (needed and "error" in result.values):
            return False
    return True


def report(results: Iterable[Result]) -> str:
    """A table for each part, and what became of the targets."""
    results = list(results)
    tables = {
        "Training steps": ("training", STEPS),
        "Beyond the roofline": ("roofline", ROOFLINE),
        "From files": ("from_files", FILES),
        "An epoch, estimated": ("epoch", EPOCHS),
    }
    rows = [*results, *epochs(results)]
    parts = []
    for title, (name, columns) in tables.items():
        lines = list(_lines([result for result in rows if result.benchmark == name], columns))
        if lines:
            texts = [i for i, column in enumerate(columns) if column in TEXTS]
            parts.append("\n".join((title, *map(str.rstrip, aligned([columns, *lines], texts)))))
    verdicts = [dataclasses.astuple(verdict) for verdict in judge(results)]
    table = aligned([("target", "demanded", "measured", "verdict"), *verdicts], (0, 1, 3))
    parts.append("\n".join(("Targets", *map(str.rstrip, table))))
    return "\n\n".join(parts)


STEPS = (
    *("model", "segments", "pixels", "clips", "peer", "precision", "ms", "ratio", "cpu_ratio"),
    *("forward_ms", "backward_ms", "update_ms", "clips_per_s", "peak_mb", "kept_mb"),
    *("graph_pool_mb", "launches", "kernels", "gpu_busy_percent"),
)
ROOFLINE = (
    *("model", "segments", "pixels", "peer", "precision", "operator", "ms", "ideal_ms"),
    *("percent_of_ideal", "gap_percent_of_step", "calls"),
)
FILES = (
    *("model", "segments", "pixels", "clips", "source", "cache", "files_ms", "memory_ms"),
    *("stall_percent", "stall_percent_low", "stall_percent_high", "wait_ms", "copy_ms"),
    *("clips_per_s", "loader_clips_per_s", "cached_percent"),
)
EPOCHS = (
    *("dataset", "gpus", "model", "segments", "peer", "source", "epoch_minutes", "step_ms"),
    *("compute_ms", "exchange_ms", "data_ms", "limit", "links"),
)
TEXTS = ("model", "peer", "precision", "operator", "source", "cache", "dataset", "limit", "links")


def _lines(results: Sequence[Result], columns: Sequence[str]) -> Iterator[list[str]]:
    for result in results:
        row = result.row
        reason = next((f"{name}: {row[name]}" for name in REASONS if name in row), None)
        cells = [str(row.get(column, "-")) for column in columns]
        if reason:
            known = [column for column in columns if column in result.case]
            cells = [str(row[column]) for column in known] + [reason.replace("_", " ")]
            cells += ["-"] * (len(columns) - len(cells))
        yield cells[: len(columns)]


def _size(text: str) -> StepSize:
    """MODEL,SEGMENTS,PIXELS,CLIPS of the command line."""
    model, *numbers = text.split(",")
    try:
        return StepSize(model, *map(int, numbers))
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text}: give MODEL,SEGMENTS,PIXELS,CLIPS, such as tdn_resnet50,8,224,16"
        ) from None


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="one size, two sources, fewer rounds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        metavar="MODEL,T,PIXELS,CLIPS",
        help="of steps, such as tdn_resnet50,8,224,16",
    )
    parser.add_argument("--sources", nargs="+", choices=ALL, metavar="NAME")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (9)")
    parser.add_argument("--steps", type=int, metavar="N", help="of a turn (on a GPU 5, else 1)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: torch's choice")
    parser.add_argument("--compile", action="store_true", help="compiled peers on a CPU, too")
    parser.add_argument("--minutes", type=float, default=9, help="start nothing after these (9)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where clips are kept")
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    options = parser.parse_args(words)
    sources = QUICK if options.quick else DECODED_ON_CPUS if options.device == "cpu" else ALL
    options.sources = options.sources or sources
    options.rounds = options.rounds or (5 if options.quick else 9)
    options.steps = options.steps or (5 if options.device == "cuda" else 1)
    return options


if __name__ == "__main__":
    sys.exit(main())
