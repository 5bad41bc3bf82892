"""A manifest of a million clips: what opening it and starting an epoch costs a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tdn.pipelines.manifests.writing import write_manifest

ROWS = 1_000_000

_START = """
import sys
from tdn.config import DataConfig
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sampling.plans import Planner

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

before = anonymous()
planner = Planner(Manifest(sys.argv[1]), DataConfig(), 8, True, rank=3, world_size=8)
planner.manifest.digest(), planner.manifest.kinds()
for epoch in (0, 1):
    views = planner.batch(epoch, planner.steps - 1)
print(anonymous() - before, len(planner.rows), *(view.clip.row for view in views))
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    frames = np.full(ROWS, 40, np.int32)
    frames[::1000] = 0
    numbers = pa.array(np.arange(ROWS)).cast(pa.large_string())
    suffix, dot = (pa.scalar(text, pa.large_string()) for text in ("webm", "."))
    columns = {
        "path": pc.binary_join_element_wise(numbers, suffix, dot),
        "label": np.arange(ROWS) % 174,
        "frames": frames,
        "width": np.full(ROWS, 320),
        "height": np.full(ROWS, 240),
        "codec": pa.array(["vp9"]).take(pa.array(np.zeros(ROWS, np.int64))),
        "pixel_format": pa.array(["yuv420p"]).take(pa.array(np.zeros(ROWS, np.int64))),
    }
    file = folder / "million.arrow"
    write_manifest(file, columns, folder / "list.txt", folder)
    return file


def test_a_process_keeps_two_numbers_of_32_bits_per_clip(manifest):
    """The row numbers of the usable clips, and their order; everything else stays in the file."""
    done = subprocess.run(
        [sys.executable, "-c", _START, manifest], capture_output=True, text=True, check=True
    )
    taken, usable, *rows = map(int, done.stdout.split())
    assert usable == ROWS - ROWS // 1000
    assert len(set(rows)) == 8
    assert not any(row % 1000 == 0 for row in rows)
    room = 40e6  # what the libraries take for themselves, whatever the number of clips
    assert taken < 8 * ROWS + room
