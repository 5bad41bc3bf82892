"""A small measurement that a loss of speed does not get past, on any CPU, in half a minute.

    python benchmarks/gate.py                 says "worse" of what got slower; exit status 1 then

Each part takes turns with a frozen yardstick (``harness.yardsticks``): the same formulas by the
same libraries, with nothing of the product's in them; the trainer with a bare loop. What counts is
the ratio, the yardstick's CPU time over ours, in one run: a CPU of another kind, a slow or a busy
one changes both. The yardstick is also compared with itself in every round: what that ratio is off
one, and how much both ratios vary from round to round, is the noise that a loss must exceed
(``benchmarks.compare``). A part with more noise than that is measured again.
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn

import tdn
from benchmarks import trainer_overhead
from benchmarks.clips.data import CLASSES, Recipe, make_clips
from benchmarks.clips.peers import training_planner
from benchmarks.compare import Change, compare
from benchmarks.harness import yardsticks
from benchmarks.harness.common import surroundings
from benchmarks.harness.resident_step import resident_batch
from benchmarks.harness.rows import Result, Row, results_of, write_results
from benchmarks.harness.timing import MEDIAN
from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig
from tdn.config_loading import load_config
from tdn.kernels.short_term_stem import short_term_stem
from tdn.long_term import LongTermTDM
from tdn.long_term_kernels import mix_over_time
from tdn.temporal_conv import TemporalConv

ROOT = Path(__file__).parents[1]
FEATURES = 8, 64, 20, 20
"""Of the block: a clip of 8 segments."""
FRAMES = 1, 8, 5, 80, 80, 3
"""Of the stem."""
CLIPS = Recipe(4, 16)
TARGET = 112, 112
ROUNDS = 5
ATTEMPTS = 3
QUIET = 0.03
"""Seconds in which the loader's threads must do nothing to be done."""
Work = Callable[[], object]


class Ratios(NamedTuple):
    """In every round."""

    ours: list[float]
    """The yardstick's CPU time over ours."""
    control: list[float]
    """The yardstick's over its own."""


def compete(ours: Work, yardstick: Work, rounds: int) -> Ratios:
    """Let the yardstick take its turn before and after each of ours; one more round warms up."""
    yardstick()
    ours()
    ratios = Ratios([], [])
    before = cpu_time(yardstick)
    for _ in range(rounds):
        mine, after = cpu_time(ours), cpu_time(yardstick)
        ratios.ours.append((before + after) / 2 / mine)
        ratios.control.append(before / after)
        before = after
    return ratios


def error_of_median(values: Sequence[float]) -> float:
    """Standard error of the median, from the median deviation: a few outliers do not count."""
    middle = statistics.median(values)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in values)
    return MEDIAN * deviation / math.sqrt(len(values))


def cpu_time(work: Work) -> float:
    """Seconds, of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def stem(rounds: int) -> Ratios:
    """The short-term stem."""
    clips = torch.randint(0, 256, FRAMES, dtype=torch.uint8)
    ours, yardstick = partial(short_term_stem, clips), partial(yardsticks.stem, clips)
    return compete(ours, yardstick, 20 * rounds)


def block(rounds: int) -> Ratios:
    """L-TDM and temporal conv, forward and backward."""
    channels, segments = FEATURES[1], 8
    x = torch.randn(FEATURES).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn_like(x)
    long_term, mix = LongTermTDM(channels, segments), TemporalConv(channels, segments)
    yardstick = yardsticks.Block(channels, segments)
    for module in (long_term, mix, yardstick):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def both_ways(function: Callable[[Tensor], Tensor], *modules: nn.Module) -> object:
        leaves = (x, *(p for module in modules for p in module.parameters()))
        return torch.autograd.grad(function(x), leaves, grad)

    return compete(
        lambda: both_ways(partial(mix_over_time, long_term, mix), long_term, mix),
        lambda: both_ways(yardstick, yardstick),
        8 * rounds,
    )


def loader(rounds: int) -> Ratios:
    """Epochs of H.264."""
    with tempfile.TemporaryDirectory() as folder:
        listed = make_clips(Path(folder), "h264", CLIPS, workers=1)
        config = Config(
            model=ModelConfig(num_segments=8, num_classes=CLASSES),
            data=DataConfig(train_list=str(listed), batch_size=2, crop_size=TARGET, num_threads=1),
            logging=LoggingConfig(progress=False),
        )
        config.training.device = "cpu"
        planner = training_planner(config)
        with closing(tdn.create_loader(config, "train")) as made:
            epochs = {"ours": 0, "yardstick": 0}

            def ours() -> None:
                made.set_epoch(epochs["ours"])
                epochs["ours"] += 1
                for batch in made:
                    del batch
                settle()  # what it has ready is then as much as before

            def yardstick() -> None:
                for step in range(planner.steps):
                    yardsticks.load(planner.batch(epochs["yardstick"], step), TARGET)
                epochs["yardstick"] += 1

            return compete(ours, yardstick, rounds)


def settle() -> None:
    """Wait until other threads of this process have nothing to do."""
    spent = time.process_time()
    while True:
        time.sleep(QUIET)
        now = time.process_time()
        if now - spent < QUIET / 30:
            return
        spent = now


def trainer(rounds: int) -> Ratios:
    """The trainer's steps, and bare ones, of a network so small that its own work shows."""
    overrides = ["--training.device", "cpu", "--model.width", "8", "--data.batch_size", "2"]
    config = load_config(ROOT / "configs" / "demo.yaml", overrides)
    config.logging = LoggingConfig(progress=False)
    with redirect_stdout(sys.stderr):
        batch = resident_batch(config, torch.device("cpu"))
        turns = trainer_overhead.take_turns(config, batch, 2 * rounds, 4)
    bare = [cost.cpu for cost in turns.bare[1:]]
    mine = [cost.cpu for cost in turns.trainer[1:]]
    beside = zip(bare, bare[1:], mine, strict=False)
    ratios = [((a + b) / 2 / own, a / b) for a, b, own in beside]
    return Ratios(*map(list, zip(*ratios, strict=True)))


PARTS: dict[str, Callable[[int], Ratios]] = {
    "short-term stem": stem,
    "block": block,
    "loader": loader,
    "trainer": trainer,
}
EXPECTED = {"short-term stem": 1.0, "block": 1.0, "loader": 0.94, "trainer": 0.95}
"""DALI, and what the trainer does for its users, add some to what yardsticks do."""
TOLERANCE = {"short-term stem": 0.15, "block": 0.15, "loader": 0.15, "trainer": 0.08}
"""What a loss must exceed in any case; the trainer's own part of a step is small."""


def measure(part: str, rounds: int) -> Row:
    """A row of one part."""
    with one_thread():
        ratios = PARTS[part](rounds)
    row: Row = {"part": part, "expected": EXPECTED[part], "rounds": rounds}
    for name, found in zip(("cpu_ratio", "control"), ratios, strict=True):
        row |= {
            name: round(statistics.median(found), 4),
            f"{name}_error": round(error_of_median(found), 4),
        }
    return row


@contextmanager
def one_thread() -> Iterator[None]:
    """CPU time of threads that wait for each other says nothing, nor that of a garbage collection.

    It would fall into the turn of whoever happens to ask for memory.
    """
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        torch.set_num_threads(former)


def judge(row: Row) -> Change:
    """Ours beside what is expected of it, with the noise of this run."""
    control = {
        f"cpu_ratio{end}": row["expected"] * row[f"control{end}"]  # type: ignore[operator]
        for end in ("", "_error")
    }
    old, new = (results_of("gate", ("part",), [each], {}) for each in (row | control, row))
    (change,) = compare(old, new, TOLERANCE[row["part"]])  # type: ignore[index]
    return change


def verdict(part: str, rounds: int = ROUNDS) -> tuple[str, Row]:
    """What became of a part, and its row: "worse", "" or "too noisy".

    It is neither if it is not in one of some attempts, each of which takes longer than the one
    before: what else a machine does may look like a loss once.
    """
    said = ""
    for attempt in range(1, ATTEMPTS + 1):
        row = measure(part, attempt * rounds)
        said = judge(row).verdict
        if said in ("", "better"):
            return "", row
    return said, row


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write the rows.

    Returns:
        Exit status: 0, or 1 if a part is worse or could not be judged.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help=f"turns of each ({ROUNDS})"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="written anew")
    options = parser.parse_args(words)
    results: list[Result] = []
    bad = False
    for part in PARTS:
        said, row = verdict(part, options.rounds)
        bad |= bool(said)
        noise = 100 * judge(row).bound
        print(
            f"{part}: {row['cpu_ratio']} times as fast as its yardstick, {row['expected']} is "
            f"expected, {noise:.0f} % less would be a loss{said and ': ' + said}",
            flush=True,
        )
        results += results_of("gate", ("part",), [row | {"verdict": said}], surroundings("cpu"))
    if options.output:
        write_results(options.output, results)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
