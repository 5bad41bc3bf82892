"""A small measurement that a loss of speed does not get past, on any CPU, in half a minute.

    python benchmarks/gate.py --repeats 5 --output benchmarks/results/gate-cpu.jsonl   (a baseline)
    python benchmarks/gate.py --output /tmp/gate.jsonl
    python benchmarks/compare.py benchmarks/results/gate-cpu.jsonl /tmp/gate.jsonl --tolerance 0.2

Each part is measured in CPU time against a yardstick that does the same work and is none of our
product: the short-term stem and a block with L-TDM and temporal conv against the released code's
arithmetic, the loader against PyAV and PIL, the trainer against a bare loop. They take turns, so
that a slow or busy machine slows both. What counts is the ratio: how many times our CPU time the
yardstick takes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import tdn
from benchmarks import trainer_overhead
from benchmarks.clips.data import CLASSES, Recipe, make_clips
from benchmarks.clips.peers import PeerDataset, training_planner
from benchmarks.clips.usage import Usage
from benchmarks.common import surroundings
from benchmarks.operations.catalogue import BlockTraining, Operation, Size, Stem
from benchmarks.operations.contestants import Contestant, Peer, new_operation, new_samples
from benchmarks.rows import Result, Row, results_of, write_results
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig
from tdn.config_loading import load_config

ROOT = Path(__file__).parents[1]
FEATURES = Size(64, 28, 2)
"""Of the block: 64 channels, 28 x 28, 2 clips of 8 segments."""
FRAMES = Size(3, 112, 2)
"""Of the stem."""
RUNS = 4
"""Of an operation in a turn: enough for the system's clock of CPU time."""
CLIPS = Recipe(8, 24)
Work = Callable[[], object]


def compete(ours: Work, yardstick: Work, rounds: int) -> list[float]:
    """The yardstick's CPU time over ours, in every round; one more warms up."""
    ratios = []
    for _ in range(rounds + 1):
        spent = []
        for work in (ours, yardstick):
            before = Usage.now().own
            work()
            spent.append(Usage.now().own - before)
        ratios.append(spent[1] / max(spent[0], 1e-9))
    return ratios[1:]


def operation(kind: type[Operation], size: Size, peer: str, rounds: int) -> list[float]:
    """One of our operations in eager PyTorch, forward and backward if it has one."""
    made = new_operation(kind, size, torch.float32, torch.channels_last, "cpu")
    samples = new_samples(made, torch.channels_last, "cpu")

    def work(name: str) -> Work:
        contestant = Contestant(Peer(name, kind=name, dtype=torch.float32), made, samples)
        return lambda: contestant.start(kind.modes[-1], RUNS)()

    return compete(work("reference"), work(peer), rounds)


def loader(rounds: int) -> list[float]:
    """An epoch of H.264 by our loader, and by PyAV and PIL."""
    with tempfile.TemporaryDirectory() as folder:
        listed = make_clips(Path(folder), "h264", CLIPS, workers=1)
        config = Config(
            model=ModelConfig(num_segments=8, num_classes=CLASSES),
            data=DataConfig(train_list=str(listed), batch_size=4, crop_size=112, num_threads=1),
            logging=LoggingConfig(progress=False),
        )
        config.training.device = "cpu"
        peer = PeerDataset(config, "pyav", as_float=False)
        steps = training_planner(config).steps
        with closing(tdn.create_loader(config, "train")) as ours:
            return compete(
                lambda: sum(len(batch.labels) for batch in ours),
                lambda: [peer[step] for step in range(steps)],
                rounds,
            )


def trainer(rounds: int) -> list[float]:
    """The trainer's steps, and bare ones, of a network so small that its own work shows."""
    overrides = ["--training.device", "cpu", "--model.width", "8", "--data.batch_size", "2"]
    config = load_config(ROOT / "configs" / "demo.yaml", overrides)
    config.logging = LoggingConfig(progress=False)
    with redirect_stdout(sys.stderr):
        row = trainer_overhead.measure(config, 2 * rounds, 5)
    overhead, error = (row[f"cpu_overhead_{name}"] / 100 for name in ("percent", "error"))
    return [1 / (1 + overhead + sign * error) for sign in (-1, 0, 1)]


PARTS: dict[str, Callable[[int], list[float]]] = {
    "short-term stem": partial(operation, Stem, FRAMES, "rewritten"),
    "block": partial(operation, BlockTraining, FEATURES, "literal"),
    "loader": loader,
    "trainer": trainer,
}


def measure(part: str, rounds: int) -> Row:
    """A row of one part."""
    with one_thread():
        ratios = PARTS[part](rounds)
    return {
        "part": part,
        "cpu_ratio": round(statistics.median(ratios), 4),
        "rounds": rounds,
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """CPU time of threads that wait for each other says nothing."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(former)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="of everything (1)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each (15)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    options = parser.parse_args(words)
    results: list[Result] = []
    for _ in range(options.repeats):
        for part in PARTS:
            row = measure(part, options.rounds)
            print(f"{part}: the yardstick takes {row['cpu_ratio']} times our CPU time", flush=True)
            results += results_of("gate", ("part",), [row], surroundings("cpu"))
    if options.output:
        write_results(options.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
