"""The data pipeline beside every other way to read the same clips, on a CPU or a GPU.

    python benchmarks/pipeline.py                      every source, 8 and 16 segments
    python benchmarks/pipeline.py --quick              VP9, H.264 and JPEG folders, 8 segments
    python benchmarks/pipeline.py --sources vp9 --backends ours pyav+pil decord+pil
    python benchmarks/pipeline.py --device cuda --consume 250

Sources (``benchmarks.clips.data``) are made here, the same every time: VP9, H.264, HEVC, AV1 and
MJPEG videos of 60 frames, 320 x 240, and the same frames as folders of JPEG files.

Contestants (``benchmarks.clips.contestants``) all read what a training reads: the same random
segments of five frames, multi-scale crop to 224 x 224, flip. Ours ends in uint8, which the network
takes. The peers are upstream's way, made as good as it gets (``benchmarks.clips.peers``): PyAV,
decord or torchcodec and PIL, or PIL on JPEG files, in torch's DataLoader with as many workers as
our loader has threads, ending in the normalised floats that upstream's networks take; and each once
more in uint8. On a GPU, ours decodes with NVDEC and nvJPEG, and takes part with its CPU pipeline
as well; batches of all contestants end in the GPU's memory.

First, every contestant's first batch is compared with a reference made by PIL: frame numbers, crop,
flip and colours (``benchmarks.clips.checks``). Who is wrong is named, and the exit status is 1, as
it is if ours fails. Then they take turns, in rounds. In a turn a contestant starts anew, runs warm
until it has delivered what it had time to prepare, and then the clock covers whole epochs: clips/s,
and CPU seconds per clip of all processes and threads together. Files come from the page cache.

A row for each source, length and contestant goes to a file of JSON lines, with device, versions and
commit. Last comes a table, and whether the targets are met. A table made while others used the
machine says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clips.contestants import BACKENDS
from benchmarks.clips.data import FRAMES, SOURCES
from tdn.machine import usable_cores

QUICK = ("jpeg", "h264", "vp9")
"""The sources of --quick."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        Exit status: 0, or 1 if a contestant is wrong or ours failed, or 2 if there is no GPU.
    """
    options = _options(arguments)
    from benchmarks.clips.session import has_device, measure_all
    from benchmarks.clips.table import is_good, report

    if not has_device(options.device):
        print("benchmarks/pipeline.py: there is no GPU; choose --device cpu", file=sys.stderr)
        return 2
    rows = measure_all(options)
    print(report(rows, options.device, options.consume))
    return 0 if is_good(rows) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three sources, 8 segments, 3 rounds")
    parser.add_argument(
        "--sources", nargs="+", choices=SOURCES, metavar="NAME", help=f"of {', '.join(SOURCES)}"
    )
    parser.add_argument(
        "--backends",
        nargs="+",
        choices=BACKENDS,
        default=list(BACKENDS),
        metavar="NAME",
        help=f"contestants, of {', '.join(BACKENDS)} (all)",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--segments", nargs="+", type=int, metavar="T", help="segments a clip (8 16)"
    )
    cores = usable_cores()
    parser.add_argument(
        "--workers",
        type=int,
        default=cores,
        metavar="N",
        help=f"threads of ours, processes of the peers (one a core, {cores})",
    )
    _add_effort(parser)
    parser.add_argument(
        "--consume",
        type=float,
        metavar="CLIPS_PER_S",
        help="what a training step takes, to say whether the loader is faster",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where clips are kept (a temporary folder)"
    )
    parser.add_argument("--commit", help="of the code, where its folder is no git checkout")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="written anew (benchmarks/results/pipeline-<device>.jsonl)",
    )
    options = parser.parse_args(arguments)
    options.sources = options.sources or (QUICK if options.quick else SOURCES)
    options.segments = options.segments or ([8] if options.quick else [8, 16])
    options.rounds = options.rounds or (3 if options.quick else 5)
    if options.clips < options.batch_size:
        parser.error(f"--clips {options.clips}: at least one batch, {options.batch_size}")
    return options


def _add_effort(parser: argparse.ArgumentParser) -> None:
    """How much is measured, and how long."""
    parser.add_argument("--clips", type=int, default=64, metavar="N", help="of a source (64)")
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help=f"({FRAMES})")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="clips (4)")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (5)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="that a turn lasts at least, once warm (2)"
    )
    parser.add_argument(
        "--minutes", type=float, default=30, help="start no measurement after these (30)"
    )


if __name__ == "__main__":
    sys.exit(main())
