"""Time of the network per clip, against the same arithmetic in the order of the released code.

    python benchmarks/network.py                       ResNet-50, 8 segments, 112 pixels, CPU
    python benchmarks/network.py --models tdn_resnet50 tsn_resnet50 --size 224 --device cuda
    python benchmarks/network.py --output benchmarks/results/network.jsonl

For every model: the forward pass in evaluation mode and a training step (forward, backward, SGD),
in milliseconds per clip, from uint8 clips. For tdn_* also of the literal network of the tests,
which calls each direction of L-TDM by itself, permutes and copies around every temporal conv, and
is given the float batch already normalised; its logits are compared with ours first. Runs of all
contestants take turns, so that what else the machine does hits all of them; the median counts.
One JSON line a model, with versions and device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

import tdn
from benchmarks.common import surroundings, synchronise
from tdn.checkpoint import export_upstream
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.models import BACKBONES
from tdn.resnet import Bottleneck
from tests.tdn.literal_tdn import LiteralTDN

CLASSES = 174


def main() -> None:
    """Measure what the command line asks for and print or append a line for each model."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.models:
        line = json.dumps(measure(name, options) | surroundings(options.device))
        print(line, flush=True)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            with options.output.open("a") as file:
                file.write(line + "\n")


def measure(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Times of one model, and of its literal twin if it is a whole TDN."""
    torch.manual_seed(0)
    shape = (options.clips, options.segments, 5, options.size, options.size, 3)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)
    model = tdn.create_model(
        name, num_classes=CLASSES, num_segments=options.segments, dropout=0.0
    ).to(options.device, memory_format=torch.channels_last)
    contestants: dict[str, tuple[nn.Module, Tensor]] = {"ours": (model, clips)}
    if name.startswith("tdn_"):
        twin = literal_twin(name, model, options.segments)
        contestants["literal"] = (twin, normalised(clips))
        check_equal(contestants)
    row: dict[str, object] = {"model": name, "shape": shape[:5]}
    for what, make in (("forward", forward_pass), ("training_step", training_step)):
        runs = {who: make(*given) for who, given in contestants.items()}
        times = {who: ms / options.clips for who, ms in medians(runs, options).items()}
        row |= {f"{what}_ms_per_clip_{who}": round(ms, 2) for who, ms in times.items()}
        if "literal" in times:
            row[f"{what}_speedup"] = round(times["literal"] / times["ours"], 3)
    return row


def literal_twin(name: str, model: nn.Module, segments: int) -> nn.Module:
    """The literal network with the model's weights."""
    backbone = BACKBONES[name.partition("_")[2]]
    bottleneck = backbone.block is Bottleneck
    twin = LiteralTDN(backbone.depths, bottleneck, 64, segments, CLASSES)
    state = {key.removeprefix("module."): v for key, v in export_upstream(model).items()}
    twin.load_state_dict(
        {key.replace("base_model.fc.", "new_fc."): value for key, value in state.items()}
    )
    return twin.to(next(model.parameters()).device)


def normalised(clips: Tensor) -> Tensor:
    """The float batch of the released code, (N, T*15, H, W)."""
    mean, std = (torch.tensor(v, device=clips.device) for v in (MEAN, STD))
    return ((clips / 255 - mean) / std).permute(0, 1, 2, 5, 3, 4).flatten(1, 3).contiguous()


@torch.no_grad()
def check_equal(contestants: dict[str, tuple[nn.Module, Tensor]]) -> None:
    """Both must compute the same before their times are compared."""
    ours, literal = (model.eval()(given) for model, given in contestants.values())
    torch.testing.assert_close(ours, literal, rtol=1e-3, atol=1e-3 * literal.abs().max().item())


def forward_pass(model: nn.Module, given: Tensor) -> Callable[[], object]:
    """Evaluation of a batch."""

    @torch.no_grad()
    def run() -> Tensor:
        return model.eval()(given)

    return run


def training_step(model: nn.Module, given: Tensor) -> Callable[[], object]:
    """Forward, backward and SGD on a batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    labels = torch.arange(len(given), device=given.device)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model.train()(given), labels).backward()
        optimizer.step()

    return run


def medians(runs: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of each, all taking turns; the first round is not counted."""
    times: dict[str, list[float]] = {who: [] for who in runs}
    for _ in range(options.rounds + 1):
        for who, run in runs.items():
            synchronise(options.device)
            start = time.perf_counter()
            run()
            synchronise(options.device)
            times[who].append(1e3 * (time.perf_counter() - start))
    return {who: statistics.median(found[1:]) for who, found in times.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["tdn_resnet50"], metavar="NAME")
    parser.add_argument("--clips", type=int, default=1, metavar="N", help="batch size (1)")
    parser.add_argument("--segments", type=int, default=8, metavar="T", help="(8)")
    parser.add_argument("--size", type=int, default=112, metavar="PIXELS", help="(112)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="runs of each (7)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: torch's choice")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to append the lines to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
