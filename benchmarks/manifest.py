"""What a manifest of many clips costs each process: opening it, starting an epoch, planning a clip.

    python benchmarks/manifest.py                  # 10 million clips, a minute, 1.2 GB of disk
    python benchmarks/manifest.py --clips 10000 1000000

Every figure is the median of fresh processes. Writes benchmarks/results/manifest-cpu.jsonl.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.common import results_file, surroundings
from benchmarks.harness.rows import Row, results_of, write_results
from tdn.pipelines.manifests.writing import write_manifest

ROOT = Path(__file__).parents[1]

_PROCESS = """
import json, sys, time
from tdn.config import DataConfig
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sampling.plans import Planner

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1e3

def timed(work):
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began

before = anonymous()
manifest, opening = timed(lambda: Manifest(sys.argv[1]))
planner, _ = timed(lambda: Planner(manifest, DataConfig(), 8, True, world_size=8))
_, first = timed(lambda: planner.batch(0, 0))
_, second = timed(lambda: planner.batch(1, 0))
steps = range(min(100, planner.steps))
_, planning = timed(lambda: [planner.batch(1, step) for step in steps])
print(json.dumps({
    "open_s": opening, "first_epoch_s": first, "next_epoch_s": second,
    "plan_us_per_clip": planning / len(steps) / 8 * 1e6, "private_mb": anonymous() - before,
}))
"""


def write(folder: Path, clips: int) -> Path:
    """A manifest of clips that do not exist, one in a thousand unusable."""
    frames = np.random.default_rng(0).integers(20, 100, clips).astype(np.int32)
    frames[::1000] = 0
    numbers = pa.array(np.arange(clips)).cast(pa.large_string())
    parts = (pa.scalar(text, pa.large_string()) for text in ("videos/part", "clip.webm", "/"))
    head, tail, mark = parts
    words = {"codec": "vp9", "pixel_format": "yuv420p"}
    first = pa.array(np.zeros(clips, np.int64))
    columns = {
        "path": pc.binary_join_element_wise(head, numbers, tail, mark),
        "label": np.arange(clips) % 174,
        "line": np.arange(1, clips + 1),
        "frames": frames,
        "width": np.full(clips, 320),
        "height": np.full(clips, 240),
        "size": np.full(clips, 30_000),
        "mtime": np.full(clips, 1),
        **{name: pa.array([word]).take(first) for name, word in words.items()},
    }
    file = folder / "manifest.arrow"
    write_manifest(file, columns, folder / "list.txt", folder)
    return file


def measure(file: Path, runs: int) -> dict[str, float]:
    """Median figures of fresh processes."""
    found = []
    for _ in range(runs):
        command = [sys.executable, "-c", _PROCESS, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        found.append(json.loads(done.stdout))
    return {key: round(statistics.median(run[key] for run in found), 4) for key in found[0]}


def main(words: list[str] | None = None) -> None:
    """Measure, print and write a row for each number of clips."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--clips", type=int, nargs="+", default=[10_000_000], metavar="N", help="rows (10 million)"
    )
    parser.add_argument("--runs", type=int, default=5, help="processes, one after the other (5)")
    default = results_file("manifest", "cpu")
    parser.add_argument("--output", type=Path, default=default, help=f"({default.name})")
    arguments = parser.parse_args(words)
    rows: list[Row] = []
    for clips in arguments.clips:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            file = write(Path(folder), clips)
            seconds, size = time.perf_counter() - began, file.stat().st_size
            figures = measure(file, arguments.runs)
        written = {"write_s": round(seconds, 3), "file_mb": round(size / 1e6)}
        rows.append({"clips": clips, **written, **figures})
        print(json.dumps(rows[-1], indent=2))
        results = results_of("manifest", ("clips",), rows, surroundings("cpu"))
        write_results(arguments.output, results)


if __name__ == "__main__":
    main()
