"""How long an epoch of the published data sets takes, from what was measured: an estimate.

A GPU begins a step when the last one is done and its next batch is there: a step takes the longer
of the two. The last step is done when the gradients of all GPUs are averaged: what of that does not
hide behind the backward pass, and waiting for the slowest GPU, is as
``benchmarks.processes.projection`` has it, with the links that ``benchmarks/scaling.py`` measured,
or assumed ones. Each GPU is taken to have its share of the CPU cores of the machine that was
measured. Validation is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.harness.rows import Result
from benchmarks.processes.inputs import DATA, ON_GPUS, Value
from benchmarks.processes.projection import Inputs, Projection, project

DATASETS = {"Something-Something V2": 168_913, "Kinetics-400": 240_000}
"""Training videos (TDN, section 4.1, for Kinetics-400 rounded as there)."""
GPUS = (1, 8, 64)
OF_A_NODE = 8
PIXELS = 224
LINKS = ("node_bandwidth", "node_latency", "link_bandwidth", "link_latency")


def epochs(results: Sequence[Result]) -> list[Result]:
    """Estimates for all data sets, for ours and for the sources that were measured on a GPU.

    Args:
        results: Rows of steps, of training from files, and of scaling.
    """
    return [
        estimate
        for step in _measured(results, "training", "clips_per_s")
        if step.ours
        for source in _measured(results, "from_files", "loader_clips_per_s")
        if source.case["cache"] == "warm" and source.machine == step.machine
        if source.case["segments"] == step.case["segments"]
        for estimate in _estimates(step, source, _links(results, step))
    ]


def _measured(results: Iterable[Result], benchmark: str, value: str) -> Iterator[Result]:
    for result in results:
        if (
            result.benchmark == benchmark
            and "cuda" in result.where
            and value in result.values
            and result.case["pixels"] == PIXELS
        ):
            yield result


def _links(results: Iterable[Result], like: Result) -> dict[str, Value]:
    """Inputs of the projection: those of a machine, if its scaling was measured."""
    found = {
        result.case["name"]: Value(result.values["number"], result.values["origin"])
        for result in results
        if result.benchmark == "scaling"
        and result.case["row"] == "input"
        and result.where["device"] == like.where["device"]
    }
    return {**ON_GPUS, **found}


def _estimates(step: Result, source: Result, links: Mapping[str, Value]) -> Iterator[Result]:
    clips = step.case["clips"]
    data = clips * step.where.get("gpus", 1) / source.values["loader_clips_per_s"]
    for dataset, videos in DATASETS.items():
        for gpus in GPUS:
            found = _projected(step, links, gpus)
            seconds = max(found.step, data)
            used = LINKS[: 0 if gpus == 1 else 2 if gpus <= OF_A_NODE else None]
            assumed = any(links[name].origin.startswith("assumed") for name in used)
            yield Result(
                "epoch",
                {
                    **{"dataset": dataset, "gpus": gpus},
                    **{name: step.case[name] for name in ("model", "segments", "peer")},
                    "source": source.case["source"],
                },
                {
                    "epoch_minutes": round(videos / (clips * gpus) * seconds / 60, 2),
                    "step_ms": round(1e3 * seconds, 2),
                    "compute_ms": round(1e3 * clips / step.values["clips_per_s"], 2),
                    "data_ms": round(1e3 * data, 2),
                    "exchange_ms": round(1e3 * (found.exposed + found.late), 2),
                    "limit": "the network" if found.step >= data else "the data",
                    "links": ("assumed" if assumed else "measured") if used else "-",
                },
                step.where,
            )


def _projected(step: Result, links: Mapping[str, Value], gpus: int) -> Projection:
    """A step of so many GPUs; how much steps differ is as where scaling was measured."""
    clips = step.case["clips"]
    work = clips / step.values["clips_per_s"]
    spread = links["spread"].number / links["work"].number if "spread" in links else 0.0
    given = Inputs(
        alone=work,
        work=work,
        backward=step.values.get("backward_ms", 0.0) / 1e3,
        spread=spread * work,
        clips=clips,
        step_clips=clips * gpus,
        gradient_bytes=1e6 * step.values["gradient_mb"],
        node_processes=OF_A_NODE,
        **{name: links[name].number for name in LINKS},
        epoch_clips=1,
        clip_bytes=DATA["clip_bytes"].number,
        clip_cpu=0.0,
    )
    return project(given, gpus)
