"""Whether there is a GPU that processes started here may use, told without any library."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_HIDING = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that show no GPU."""


def is_present() -> bool:
    """Whether the machine, or container, has an NVIDIA GPU with a driver."""
    nodes = any(node.name[6:].isdigit() for node in Path("/dev").glob("nvidia*"))
    in_windows = Path("/dev/dxg").exists() and shutil.which("nvidia-smi") is not None
    return nodes or in_windows


def is_hidden(environment: Mapping[str, str]) -> bool:
    """Whether CUDA_VISIBLE_DEVICES hides every GPU."""
    return environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in _HIDING


def has_gpu() -> bool:
    """Whether there is a GPU, and it is not hidden."""
    return is_present() and not is_hidden(os.environ)
