"""Where each number of the projection comes from: measured, given, or assumed until it is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.common import described
from benchmarks.harness.rows import read_results
from benchmarks.processes.links import Links
from benchmarks.processes.measurement import Work
from benchmarks.processes.projection import Inputs
from tdn.errors import UserError

NAMES = tuple(field.name for field in dataclasses.fields(Inputs))
UNITS = {
    "alone": "s",
    "work": "s",
    "backward": "s",
    "spread": "s",
    "gradient_bytes": "bytes",
    "node_bandwidth": "bytes/s",
    "node_latency": "s",
    "link_bandwidth": "bytes/s",
    "link_latency": "s",
    "clip_bytes": "bytes",
    "clip_cpu": "s",
}
PIPELINE = Path(__file__).parents[1] / "results" / "pipeline-cpu.jsonl"


class Value(NamedTuple):
    """A number and where it is from."""

    number: float
    origin: str


ON_GPUS = {
    "node_bandwidth": Value(300e9, "assumed: NVLink of an H100, 450 GB/s, at two thirds"),
    "node_latency": Value(3e-6, "assumed: NCCL by NVLink"),
    "link_bandwidth": Value(40e9, "assumed: one adapter of 400 Gbit/s a node, at 80 %"),
    "link_latency": Value(6e-6, "assumed: NCCL by InfiniBand"),
}
ON_CPUS = {
    "node_bandwidth": Value(2e9, "assumed: gloo within a machine"),
    "node_latency": Value(100e-6, "assumed: gloo within a machine"),
    "link_bandwidth": Value(1e9, "assumed: Ethernet of 10 Gbit/s, at 80 %"),
    "link_latency": Value(50e-6, "assumed: gloo by Ethernet"),
}
DATA = {
    "step_clips": Value(1024, "assumed"),
    "epoch_clips": Value(168913, "the training list of Something-Something V2"),
    "clip_bytes": Value(88e3, "Something-Something V2 as published: 19.4 GB, 220,847 videos"),
}
CLIP_CPU = Value(0.03, "assumed: H.264, 8 segments")
WHOLE = ("step_clips", "node_processes", "epoch_clips")


def collect(
    work: Work, clips: int, links: Links, given: Mapping[str, Value], device: str
) -> dict[str, Value]:
    """All inputs, in order; what is given counts before what is measured or assumed."""
    here = "measured here"
    measured = {
        "alone": Value(work.alone, here),
        "work": Value(work.step, here),
        "backward": Value(work.backward, here),
        "spread": Value(work.spread, here),
        "clips": Value(clips, "the configuration, or --batch-size"),
        "gradient_bytes": Value(work.gradient_bytes, "the network's parameters"),
        "node_processes": Value(links.node_processes, "as here"),
        "clip_cpu": _clip_cpu(),
    }
    measured |= {
        name: Value(number, here)
        for name, number in dataclasses.asdict(links).items()
        if name != "node_processes" and number is not None
    }
    assumed = ON_GPUS if device == "cuda" else ON_CPUS
    found = {**assumed, **DATA, **measured, **given}
    return {name: found[name] for name in NAMES}


def inputs_of(values: Mapping[str, Value]) -> Inputs:
    """The numbers alone."""
    numbers = {name: value.number for name, value in values.items()}
    return Inputs(**numbers | {name: int(numbers[name]) for name in WHOLE})  # type: ignore[arg-type]


def setting(text: str) -> tuple[str, Value]:
    """NAME=NUMBER of the command line."""
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"{text}: no input is called {name}; {', '.join(NAMES)}")
    least = 0 if name in ("spread", "node_latency", "link_latency", "clip_cpu") else 1e-12
    if not least <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: give a positive number, in {UNITS.get(name, 1)}")
    if name in WHOLE and (value != int(value) or value < 1):
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 on")
    return name, Value(value, "given")


def of_preflight(path: Path) -> dict[str, Value]:
    """Bandwidths and latencies that launch/preflight.py measured on a cluster.

    Raises:
        UserError: The file cannot be read, or is no report of a preflight.
    """
    try:
        links = json.loads(path.read_text())["links"]
        return {
            name: Value(float(links[name]), str(path))
            for name in ON_GPUS
            if links.get(name) is not None
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"--preflight {path}: is no preflight.json of a run folder ({described(error)})"
        ) from None


def of_manifest(path: Path) -> dict[str, Value]:
    """Clips and their bytes of a list that was indexed."""
    import pyarrow.compute as pc

    from tdn.pipelines.manifests.manifest import Manifest

    manifest = Manifest(path)
    usable = manifest.table.filter(pc.field("frames") > 0)
    return {
        "epoch_clips": Value(len(manifest.usable), str(path)),
        "clip_bytes": Value(pc.mean(usable["size"]).as_py(), f"{path}: whole files"),
    }


def _clip_cpu() -> Value:
    """Of H.264 by this loader, as measured last."""
    wanted = {"source": "h264", "contestant": "ours", "segments": 8}
    for each in read_results(PIPELINE) if PIPELINE.exists() else ():
        if wanted.items() <= each.case.items() and "cpu_s_per_clip" in each.values:
            return Value(each.values["cpu_s_per_clip"], f"{PIPELINE.name}: H.264, 8 segments")
    return CLIP_CPU
