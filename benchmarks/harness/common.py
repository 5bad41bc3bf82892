"""What every benchmark needs, such as the surroundings that its numbers depend on."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import torch
import triton

import tdn
from tdn.provenance import commit

RESULTS = Path(__file__).parents[1] / "results"
MEDIA = "nvidia-dali-cuda130", "av", "pillow", "decord", "torchcodec"
"""Packages whose versions matter, too."""
PACKAGES = {"nvidia": "nvidia-dali-cuda130"}
"""That modules of another name come with."""


def results_file(benchmark: str, device: str, folder: Path = RESULTS) -> Path:
    """Where a benchmark's results go.

    Args:
        benchmark: Its name, as its file has it.
        device: "cpu" or "cuda".
        folder: The place of all results.
    """
    name = "cpu" if device == "cpu" else slug(torch.cuda.get_device_name())
    return folder / f"{benchmark.replace('_', '-')}-{name}.jsonl"


def surroundings(device: str) -> dict[str, object]:
    """Device, versions, commit and date.

    Args:
        device: "cpu" or "cuda".
    """
    found: dict[str, object] = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "tdn": tdn.__version__,
        **versions(),
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if device == "cuda":
        found |= {"driver": _driver(), "cuda": torch.version.cuda}
        found |= {"cudnn": torch.backends.cudnn.version(), "processor": _processor()}
        found["gpus"] = torch.cuda.device_count()
    return found


def versions() -> dict[str, str | None]:
    """Of the libraries that decode and resize; None of those that are absent."""
    found: dict[str, str | None] = {}
    for package in MEDIA:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def synchronise(device: str) -> None:
    """Wait for the device to be done."""
    if device == "cuda":
        torch.cuda.synchronize()


def described(error: BaseException) -> str:
    """The type of an error, and the first line of what it says."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"[:300]


def failure(error: Exception) -> dict[str, object]:
    """Why a row has no values: "absent" with a remedy for a library, else "error"."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        package = PACKAGES.get(module, module)
        return {"absent": f"no {package} here; pip install {package}"}
    return {"error": described(error)}


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"\W+", "-", name).lower()


def whole_number(text: str) -> int:
    """A whole number from 1 on, of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 on")
    return int(text)


def progress(line: str) -> None:
    """Say how far a run is, apart from its results."""
    print(line, file=sys.stderr, flush=True)


def aligned(lines: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """A table, its columns of text aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return _output(query).partition("\n")[0] or "unknown"


def _output(command: list[str]) -> str:
    """What a command prints; nothing if it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
