"""A GPU may be where DALI is not: whatever reads no files is measured there all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, *_):
        if name.startswith(("nvidia.dali", "decord", "torchcodec")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from benchmarks import all, compare, gate, growth, kernels, scaling, trainer_overhead, training
"""


def test_benchmarks_start_without_dali():
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", BLOCKED], cwd=root, check=True)
