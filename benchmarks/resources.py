"""Registers, spills, shared memory and load widths of all kernels, without a GPU.

    python -m benchmarks.resources                          everything, some minutes
    python -m benchmarks.resources --types bfloat16 --operations long-term --capabilities 90
    python -m benchmarks.resources --output resources.jsonl

Runs the operations at the shapes of ResNet-50, forward and backward, with launches noted instead
of made, and compiles each for the compute capabilities named. The exit status is 1 if a register
spills, or if a kernel loads a large tensor in narrower pieces than its layout allows; both cost
time on every GPU. Loads in functions that kernels call are not judged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness.common import whole_number
from benchmarks.operations.compilation import Usage, compiled, signature
from tdn.kernels.backend import INTERPRETING, Launch, recorded, using
from tdn.kernels.fusion import fusion
from tdn.kernels.mixup import mixup
from tdn.kernels.short_term_stem import short_term_stem
from tdn.kernels.temporal_conv import temporal_conv
from tdn.long_term import LongTermTDM
from tdn.long_term_kernels import mix_over_time
from tdn.temporal_conv import TemporalConv

SEGMENTS = 8
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
BLOCKS = ((128, 56), (128, 28), (256, 28), (256, 14), (512, 14), (512, 7))
"""Channels and side of the features in the blocks of stages 2, 3 and 4 at 224 pixels."""


@dataclass(frozen=True)
class Case:
    """An operation at a shape, in a type and a layout, for a compute capability."""

    operation: str
    channels: int
    side: int
    type: str
    layout: str
    capability: int


@dataclass(frozen=True)
class Row:
    """A kernel that a case launches."""

    case: Case
    kernel: str
    usage: Usage

    def __str__(self) -> str:
        case, usage = self.case, self.usage
        loads = " ".join(f"{load.tensor}:{load.width}/{load.possible}" for load in usage.loads)
        return (
            f"sm_{case.capability} {case.operation:13} {case.channels:4}@{case.side:<3} "
            f"{case.type:8} {case.layout:13} {self.kernel:30} {usage.registers:4} registers "
            f"{usage.spills:5} B spilled {usage.shared:6} B shared  {loads}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Compile what the command line asks for, print the table, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.output and not options.output.parent.is_dir():
        print(f"--output {options.output}: its folder does not exist; make it", file=sys.stderr)
        return 2
    if INTERPRETING:
        print("TRITON_INTERPRET=1 takes the compiler away; unset it", file=sys.stderr)
        return 2
    cases = [
        Case(operation, *shape, *rest)
        for operation in options.operations
        for shape in _shapes(operation, options.few)
        for rest in product(options.types, options.layouts, options.capabilities)
    ]
    wrong = 0
    with ProcessPoolExecutor(
        options.jobs, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for rows in pool.map(compile_case, cases):
            wrong += judged(rows)
            if options.output:
                with options.output.open("a") as file:
                    file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
    print(f"{wrong} spill registers or load in narrow pieces" if wrong else "none spills")
    return 1 if wrong else 0


def judged(rows: list[Row]) -> int:
    """Print rows; returns how many of them spill, or load in narrower pieces than they could."""
    for row in rows:
        print(row, flush=True)
    return sum(bool(row.usage.spills or row.usage.narrow) for row in rows)


def _shapes(operation: str, few: bool) -> tuple[tuple[int, int], ...]:
    shapes = OPERATIONS[operation][1]
    return (shapes[0], shapes[-1]) if few and len(shapes) > 2 else shapes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resources",
        description="What the Triton kernels take of a GPU, found by compiling without one.",
        epilog="A line ends with the loads of large tensors that stand in the kernel itself: "
        "x:16/16 are 16 bytes at a time, of 16 that the layout allows.",
    )
    parser.add_argument(
        "--operations",
        nargs="+",
        choices=OPERATIONS,
        default=list(OPERATIONS),
        help="what to compile; long-term has the differences, the branch sum and the gated mix, in "
        "training and in evaluation (default: all)",
    )
    parser.add_argument(
        "--types", nargs="+", choices=TYPES, default=list(TYPES), help="of features (default: all)"
    )
    parser.add_argument(
        "--layouts",
        nargs="+",
        choices=LAYOUTS,
        default=["channels_last"],
        help="of features in memory (default: channels_last)",
    )
    parser.add_argument(
        "--capabilities", nargs="+", type=int, default=[80, 90], help="80: A100; 90: H100, H200"
    )
    parser.add_argument("--few", action="store_true", help="the largest and smallest shape only")
    parser.add_argument(
        "--jobs", type=whole_number, default=os.cpu_count(), help="processes at once"
    )
    parser.add_argument("--output", type=Path, help="file to append a JSON line for each kernel to")
    return parser


def compile_case(case: Case) -> list[Row]:
    """Compile every kernel that a case launches, once each."""
    rows, seen = [], set()
    for launch in launches(case):
        key = f"{launch.kernel.__module__} {launch.kernel.__name__} {signature(launch)}"
        if key not in seen:
            seen.add(key)
            rows.append(Row(case, launch.kernel.__name__, compiled(launch, case.capability)))
    return rows


def launches(case: Case) -> list[Launch]:
    """What a case launches, forward and backward."""
    run = OPERATIONS[case.operation][0]
    with recorded() as found, using("triton"):
        for result in run(case.channels, case.side, TYPES[case.type], LAYOUTS[case.layout]):
            if result.requires_grad:
                result.backward(torch.empty_like(result), retain_graph=True)
    return found


Results = Iterator[Tensor]


def _images(
    channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format, clips: int = 2
) -> Tensor:
    shape = (clips * SEGMENTS, channels, side, side)
    return torch.empty(shape, dtype=dtype, memory_format=layout).requires_grad_()


def _stem(_: int, side: int, dtype: torch.dtype, *__: object) -> Results:
    yield from short_term_stem(torch.empty(2, SEGMENTS, 5, side, side, 3, dtype=torch.uint8), dtype)


def _mixup(_: int, side: int, *__: object) -> Results:
    yield mixup(torch.empty(2, SEGMENTS, 5, side, side, 3, dtype=torch.uint8), 1, 64)


def _float_stem(_: int, side: int, dtype: torch.dtype, *__: object) -> Results:
    clips = torch.empty(2, SEGMENTS, 5, 3, side, side, dtype=dtype, requires_grad=True)
    yield from short_term_stem(clips, dtype)


def _fusion(channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format) -> Results:
    x = _images(channels, side, dtype, layout)
    yield fusion(x, _images(channels, side // 2, dtype, layout), 0.5, 0.5)


def _temporal_conv(
    channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format
) -> Results:
    weight = torch.empty(channels, 1, 3, requires_grad=True)
    yield temporal_conv(_images(channels, side, dtype, layout), weight, SEGMENTS)


def _long_term(
    channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format
) -> Results:
    for training in (True, False):
        long_term = LongTermTDM(channels, SEGMENTS).train(training)
        for conv in (long_term.half_conv, long_term.full_conv):
            conv.weight.data = conv.weight.data.contiguous(memory_format=layout)
        x = _images(channels, side, dtype, layout)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            yield mix_over_time(long_term, TemporalConv(channels, SEGMENTS), x)


OPERATIONS: dict[str, tuple[Callable[..., Results], tuple[tuple[int, int], ...]]] = {
    "stem": (_stem, ((3, 224), (3, 255))),
    "mixup": (_mixup, ((3, 224),)),
    "float-stem": (_float_stem, ((3, 224),)),
    "fusion": (_fusion, ((64, 56), (256, 56))),
    "temporal-conv": (_temporal_conv, BLOCKS),
    "long-term": (_long_term, BLOCKS),
}

if __name__ == "__main__":
    sys.exit(main())
