"""NVIDIA Apex, which may run the optimizer; torch's own fused ones do without it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib import metadata

from tdn.doctor.findings import Finding, ok, warn


def check() -> Iterator[Finding]:
    """Look at Apex."""
    if importlib.util.find_spec("apex") is None:
        yield ok("apex", "not installed; torch's fused optimizers do the same")
        return
    import torch

    from tdn.training.optimizing.optimizers import apex_obstacle

    obstacle = apex_obstacle("sgd", torch.device("cuda"), {torch.float32})
    yield judge(_version(), obstacle, torch.cuda.is_available())


def _version() -> str:
    try:
        return metadata.version("apex")
    except metadata.PackageNotFoundError:  # from a folder on the path
        return "of unknown version"


def judge(version: str, obstacle: str | None, gpu: bool) -> Finding:
    """What to say of an Apex that is there, and of what keeps it from running an optimizer."""
    if obstacle is not None:
        found, _, remedy = obstacle.partition("; ")
        return warn("apex", f"{found}: torch's fused optimizers are taken", remedy)
    unused = "" if gpu else "; there is no GPU to use them"
    return ok("apex", f"{version}, with its CUDA extensions{unused}")
