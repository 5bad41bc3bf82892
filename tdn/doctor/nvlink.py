"""NVLink: which links of each GPU are up, as ``nvidia-smi nvlink --status`` says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from tdn.doctor.findings import Finding, warn

Links = tuple[float, ...]
"""Bytes per second of each active link of a GPU, in each direction."""


def look() -> tuple[Links, ...]:
    """The links of each GPU; nothing where there is no nvidia-smi."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    words = [command, "nvlink", "--status"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return read(done.stdout) if done.returncode == 0 else ()


def read(text: str) -> tuple[Links, ...]:
    """The links from what it prints.

    A line such as "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-...)" begins a GPU, and those such as
    "Link 3: 26.562 GB/s" or "Link 4: <inactive>" are its links.
    """
    found: list[list[float]] = []
    for line in text.splitlines():
        if re.match(r"GPU \d+:", line):
            found.append([])
        speed = re.match(r"\s+Link \d+: ([\d.]+) GB/s", line)
        if speed and found:
            found[-1].append(float(speed[1]) * 1e9)
    return tuple(map(tuple, found))


def judge(gpus: Sequence[Links]) -> Iterator[Finding]:
    """What to say of GPUs with fewer links than others of the machine."""
    most = max(map(len, gpus), default=0)
    for number, links in enumerate(gpus):
        if len(links) < most:
            yield warn(
                f"gpu {number} nvlink",
                f"{len(links)} links are up, other GPUs have {most}",
                f"nvidia-smi nvlink -e -i {number} counts their errors; a reset may bring them "
                f"back: sudo nvidia-smi --gpu-reset -i {number}",
            )


def slowest(gpus: Sequence[Links]) -> float:
    """Bytes per second of all links of the GPU that has the least; 0 without any."""
    return min(map(sum, gpus), default=0.0)
