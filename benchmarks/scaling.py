"""How training grows with its processes: measured on those at hand, projected to 1,024 GPUs.

    python benchmarks/scaling.py                      the demo's network, 2 processes on CPUs
    python benchmarks/scaling.py --device cuda --config configs/ssv2_r50_8f.yaml     all GPUs
    torchrun ... benchmarks/scaling.py --device cuda ...     a cluster's (docs/clusters.md has all)
    python benchmarks/scaling.py --set link_bandwidth=25e9 --set node_processes=8

One, two, four ... and all of the processes take turns with training steps on clips that lie in
their memory: forward, backward, averaging of gradients by DistributedDataParallel, clipping,
optimizer. Weak scaling: as many clips a process as one alone takes; strong: as many in all. Each
is also measured with every process for itself: what is lost there the processes take from each
other on one machine (memory, caches, power), and no network is to blame; what the backward pass
takes beyond that is the all-reduce. All-reduces of a bucket
of gradients and of 8 bytes measure the links. The processes that rest wait in their network stack.

The projection (``benchmarks.processes.projection``) takes one process's work, its spread, gradient
bytes, bandwidths and latencies, and says what a step on up to 1,024 processes takes, how much of it
waits for gradients and for the slowest process, the clips and bytes a second that the storage must
give, and the cores of a node for decoding on CPUs. Every input is printed with its origin, and
whatever could not be measured here can be given: --set, --preflight, --manifest. Beside what was
measured stands the projection of the same: where they differ much, a line says not to trust it.

Rows go to benchmarks/results/scaling-<device>.jsonl: inputs, measured, projected.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.harness.common import aligned, results_file, surroundings, whole_number
from benchmarks.harness.rows import Row, results_of, write_results
from benchmarks.harness.timing import quantiles
from benchmarks.processes.inputs import (
    UNITS,
    Value,
    collect,
    inputs_of,
    of_manifest,
    of_preflight,
    setting,
)
from benchmarks.processes.links import measure_links
from benchmarks.processes.measurement import Case, Turns, measure
from benchmarks.processes.projection import Inputs, Projection, project, project_strong
from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.training.precision import choose_precision
from tdn.training.processes.distributed import open_processes

ROOT = Path(__file__).parents[1]
DOUBTFUL = 10
"""Percent."""
CASE = ("row", "name", "scaling", "processes", "clips")
"""Columns that say what a row is about."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure, project, print and write the rows.

    Returns:
        Exit status: 0, or 2 for a mistake.
    """
    words = sys.argv[1:] if words is None else list(words)
    options = _options(words)
    try:
        config = load_config(options.config, ["--training.device", options.device])
        given = of_manifest(options.manifest) if options.manifest else {}
        given |= of_preflight(options.preflight) if options.preflight else {}
        given |= dict(options.set)
        if "RANK" not in os.environ:
            return _start_processes(options, words)
        _measure_and_report(config, given, options)
    except UserError as error:
        print(f"benchmarks/scaling.py: {error}", file=sys.stderr)
        return 2
    return 0


def _start_processes(options: argparse.Namespace, words: Sequence[str]) -> int:
    count = options.processes or (torch.cuda.device_count() if options.device == "cuda" else 2)
    if options.device == "cuda" and not 1 <= count <= torch.cuda.device_count():
        raise UserError("there is no GPU for each process; choose --device cpu, or fewer")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", str(count), __file__, *words]
    # torchrun would say that it sets this, in a box of stars.
    environment = {"OMP_NUM_THREADS": str(options.threads), **os.environ}
    return subprocess.run(command, check=False, env=environment).returncode


def _measure_and_report(
    config: Config, given: Mapping[str, Value], options: argparse.Namespace
) -> None:
    config.training.cpu_threads = options.threads
    config.data.batch_size = options.batch_size or config.data.batch_size
    with open_processes(config.training) as place:
        links = measure_links(place)
        turns, work = measure(config, place, options.rounds, options.steps)
        main = place.is_main
    if not main:
        return
    values = collect(work, config.data.batch_size, links, given, options.device)
    inputs = inputs_of(values)
    measured = [measured_row(case, turns, inputs) for case in turns]
    weak = [project(inputs, count) for count in counts(options.up_to)]
    strong = [project_strong(inputs, count) for count in counts(options.up_to)]
    print(report(values, measured, weak, strong))
    print("\n".join(doubts(values, measured, options.device)))
    where = surroundings(options.device) | {
        "model": config.model.name,
        "segments": config.model.num_segments,
        "crop_size": config.data.crop_size,
        "precision": choose_precision(config.training.precision, place.device).name,
        "rounds": options.rounds,
        "steps_a_turn": options.steps,
    }
    rows: list[Row] = [
        {"row": "input", "name": name, **value._asdict()} for name, value in values.items()
    ]
    rows += [{"row": "measured", **row} for row in measured]
    for scaling, found in (("weak", weak), ("strong", strong)):
        rows += [
            {"row": "projected", "scaling": scaling, **dataclasses.asdict(each)}
            for each in found
            if each is not None
        ]
    write_results(_results(options), results_of("scaling", CASE, rows, where))


def counts(largest: int) -> list[int]:
    """Powers of two, and the largest."""
    return sorted({*(1 << power for power in range(largest.bit_length())), largest})


def measured_row(case: Case, turns: Mapping[Case, Turns], inputs: Inputs) -> dict[str, Any]:
    """A case beside one process alone, both in the same rounds, and beside its projection."""
    alone, mine = next(iter(turns.values())).together, turns[case]
    share = case.clips / next(iter(turns)).clips
    efficiency = _ratios(alone, mine.together, share)
    together = dataclasses.replace(inputs, step_clips=case.processes * case.clips)
    projected = project_strong(together, case.processes)
    assert projected is not None  # each takes a clip at least
    low, middle, high = sorted(quantiles(efficiency))
    return {
        **dataclasses.asdict(case),
        "step": statistics.median(mine.together),
        "step_apart": statistics.median(mine.apart),
        "efficiency": round(middle, 4),
        "efficiency_low": round(low, 4),
        "efficiency_high": round(high, 4),
        "efficiency_apart": round(statistics.median(_ratios(alone, mine.apart, share)), 4),
        "efficiency_projected": round(projected.efficiency, 4),
        "clips_per_s": round(case.processes * case.clips / statistics.median(mine.together), 2),
        **split_columns(case, mine),
    }


def split_columns(case: Case, turns: Turns) -> dict[str, float]:
    """The parts of a step, ms; of several processes with what averaging adds to the backward pass.

    That is what of it does not hide, and waiting for the slowest process.
    """
    apart, together = turns.splits["apart"], turns.splits["together"]
    parts = {
        "forward_ms": [split.forward for split in together],
        "backward_ms": [split.backward for split in apart],
        "update_ms": [split.update for split in together],
    }
    if case.processes > 1:
        pairs = zip(together, apart, strict=True)
        parts["all_reduce_ms"] = [mine.backward - alone.backward for mine, alone in pairs]
    return {name: round(1e3 * statistics.median(times), 3) for name, times in parts.items()}


def _ratios(alone: Sequence[float], mine: Sequence[float], share: float) -> list[float]:
    return [share * one / other for one, other in zip(alone, mine, strict=True)]


def report(
    values: Mapping[str, Value],
    measured: Sequence[Mapping[str, Any]],
    weak: Sequence[Projection],
    strong: Sequence[Projection | None],
) -> str:
    """Inputs, what was measured and what is projected, as tables."""
    inputs = [
        (name, f"{value.number:.4g}", UNITS.get(name, ""), value.origin)
        for name, value in values.items()
    ]
    parts = {
        "Inputs of the projection": aligned(inputs, left=(0, 2, 3)),
        "Measured: clips a second of a process, against one alone": aligned(
            list(_measured_lines(measured)), left=(0,)
        ),
        f"Projected: {values['clips'].number:g} clips a process": aligned(
            list(_projected_lines(weak)), left=()
        ),
        f"Projected: {values['step_clips'].number:g} clips a step": aligned(
            list(_projected_lines([each for each in strong if each is not None])), left=()
        ),
    }
    return "\n\n".join(
        "\n".join((title, *map(str.rstrip, lines))) for title, lines in parts.items()
    )


def doubts(
    values: Mapping[str, Value], measured: Sequence[Mapping[str, Any]], device: str
) -> list[str]:
    """What to know before believing the projection."""
    found = []
    last = [row for row in measured if row["scaling"] == "weak"][-1]
    points = 100 * (last["efficiency_projected"] - last["efficiency"])
    if abs(points) > DOUBTFUL:
        side = "above" if points > 0 else "below"
        found.append(
            f"Do not trust the projection: on {last['processes']} processes it is "
            f"{abs(points):.0f} points {side} what was measured."
        )
    noise = 100 * values["spread"].number / values["work"].number
    if noise > DOUBTFUL:
        found.append(
            f"Steps differ by {noise:.0f} %: if other programs use this machine, they are in every "
            "number above."
        )
    if device == "cpu":
        found.append(
            "These are processes on CPUs: an illustration of the method, not of a cluster of GPUs."
        )
    return found


def _measured_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    yield (
        *("scaling", "processes", "clips each", "ms/step", "%", "20 %", "80 %"),
        *("% if apart", "% projected", "forward ms", "backward", "all-reduce", "update"),
    )
    for row in rows:
        yield (
            row["scaling"],
            str(row["processes"]),
            str(row["clips"]),
            f"{1e3 * row['step']:.1f}",
            *(
                f"{100 * row[f'efficiency{kind}']:.1f}"
                for kind in ("", "_low", "_high", "_apart", "_projected")
            ),
            *(
                f"{row[f'{part}_ms']:.1f}" if f"{part}_ms" in row else "-"
                for part in ("forward", "backward", "all_reduce", "update")
            ),
        )


def _projected_lines(found: Sequence[Projection]) -> Iterator[Sequence[str]]:
    yield (
        *("processes", "nodes", "ms/step", "averaging", "waits for it", "for the slowest"),
        *("%", "clips/s", "storage GB/s", "cores/node", "epoch min"),
    )
    for each in found:
        yield (
            str(each.processes),
            str(each.nodes),
            f"{1e3 * each.step:.1f}",
            f"{1e3 * each.averaging:.2f}",
            f"{1e3 * each.exposed:.2f}",
            f"{1e3 * each.late:.2f}",
            f"{100 * each.efficiency:.1f}",
            f"{each.clips_per_s:,.0f}",
            f"{each.storage / 1e9:.3f}",
            f"{each.cores:.1f}",
            f"{each.epoch / 60:.2f}",
        )


def _results(options: argparse.Namespace) -> Path:
    """The file for the rows."""
    return options.output or results_file("scaling", options.device)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "configs" / "demo.yaml"
    parser.add_argument("--config", type=Path, default=default, metavar="FILE", help="(the demo's)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--processes", type=whole_number, metavar="N", help="at hand (all GPUs; on a CPU 2)"
    )
    parser.add_argument(
        "--batch-size", type=whole_number, metavar="N", help="of a process (the config's)"
    )
    parser.add_argument(
        "--rounds", type=whole_number, default=15, metavar="N", help="turns of each (15)"
    )
    parser.add_argument("--steps", type=whole_number, default=4, metavar="N", help="of a turn (4)")
    parser.add_argument("--threads", type=whole_number, default=1, metavar="N", help="of each (1)")
    parser.add_argument(
        "--up-to", type=whole_number, default=1024, metavar="N", help="processes (1024)"
    )
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="an input of the projection, such as link_bandwidth=25e9; again for more",
    )
    parser.add_argument("--preflight", type=Path, metavar="FILE", help="takes links from there")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="takes clips from there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
