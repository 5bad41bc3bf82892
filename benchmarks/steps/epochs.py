"""How long an epoch of the published data sets takes, from what was measured here.

A GPU gets its next batch when both the last step and the batch are done: a step takes the longer of
the two. Each GPU is taken to have as many CPU cores as here. The exchange of gradients between GPUs
is not in it, ``benchmarks/scaling.py`` measures what it costs; nor is validation.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness.rows import Result, Row

CASE = ("dataset", "gpus", "model", "segments", "peer", "source")
DATASETS = {"Something-Something V2": 168_913, "Kinetics-400": 240_000}
"""Training videos (TDN, section 4.1, for Kinetics-400 rounded as there)."""
GPUS = (1, 8, 64)
PIXELS = 224


def epoch_rows(results: Sequence[Result], gpus_here: int) -> list[Row]:
    """Estimates for all data sets, for ours and for the sources that were measured.

    Args:
        results: Rows of steps and of training from files.
        gpus_here: GPUs that share the CPU cores of this machine.
    """
    steps = [
        result
        for result in results
        if result.benchmark == "training"
        and result.case["peer"].startswith("ours")
        and result.case["pixels"] == PIXELS
        and "clips_per_s" in result.values
    ]
    sources = [
        result
        for result in results
        if result.benchmark == "from_files"
        and result.case["cache"] == "warm"
        and result.case["pixels"] == PIXELS
        and "loader_clips_per_s" in result.values
    ]
    rows = [
        _row(dataset, gpus, step, source, gpus_here)
        for step in steps
        for source in sources
        if source.case["segments"] == step.case["segments"]
        for dataset in DATASETS
        for gpus in GPUS
    ]
    reason = "its parts were not measured" if gpus_here else "no GPU here"
    return rows or [
        {"dataset": dataset, "gpus": gpus, "left_out": reason}
        for dataset in DATASETS
        for gpus in GPUS
    ]


def _row(dataset: str, gpus: int, step: Result, source: Result, gpus_here: int) -> Row:
    clips = step.case["clips"]
    compute = 1e3 * clips / step.values["clips_per_s"]
    data = 1e3 * clips / (source.values["loader_clips_per_s"] / gpus_here)
    slower = max(compute, data)
    return {
        "dataset": dataset,
        "gpus": gpus,
        **{name: step.case[name] for name in ("model", "segments", "peer")},
        "source": source.case["source"],
        "epoch_minutes": round(DATASETS[dataset] / (clips * gpus) * slower / 6e4, 2),
        "compute_ms": round(compute, 2),
        "data_ms": round(data, 2),
        "limit": "the network" if compute >= data else "the data",
    }
