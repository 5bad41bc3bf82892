"""An experiment: the outer frames of a segment resized straight to half size.

The short-term differences are pooled 2 x 2 before their first conv, and pooling and differencing
commute: the four outer frames of a segment are needed only at half the input's size. Resized
straight to it they would cost less to resize, copy and read. But resizing once is not resizing and
then pooling: the differences get a little of the picture's texture in them.

    python benchmarks/fewer_pixels.py --seeds 1 2 3      # some 10 minutes on two CPU cores

Trains the demo's network on both kinds of frames, and reports for each its accuracy, how far the
logits of the network that was trained on full frames move on half-size ones, and what is gained:
CPU-seconds to decode and resize a clip at 224 pixels, and bytes of a batch. The outer frames are
fed as 2 x 2 blocks of equal pixels, which the pooling undoes exactly: the network is unchanged.
Writes benchmarks/results/fewer-pixels-cpu.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import tdn
from benchmarks.harness.common import surroundings
from benchmarks.harness.rows import Result, results_of, write_results
from tdn.config import Config
from tdn.config_loading import load_config
from tdn.demo.pairs import read_pairs, within_pair_accuracy
from tdn.pipelines.demo_data import DemoData, write_demo_data
from tdn.pipelines.loader import Batch, Loader, create_loader
from tdn.pipelines.sampling.augmentation import as_size
from tdn.training.trainer import train

ROOT = Path(__file__).parents[1]
CENTRE = 2


class HalfSizeLoader:
    """A loader whose outer frames were resized straight to half size."""

    def __init__(self, config: Config, split: str, **place: int) -> None:
        self._full = create_loader(config, split, **place)  # type: ignore[arg-type]
        planner = self._full.planner
        height, width = planner.target
        data = dataclasses.replace(planner.data, crop_size=(height // 2, width // 2))
        if split != "train":  # the same region of the frame
            data.short_side = planner.data.short_side // 2
        half = dataclasses.replace(planner, data=data)
        self._half = Loader(half, self._full.device, self._full._start)

    def __len__(self) -> int:
        return len(self._full)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._full, name)

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """As ``Loader.set_epoch``."""
        for loader in (self._full, self._half):
            loader.set_epoch(epoch, start_step)

    def close(self) -> None:
        """As ``Loader.close``."""
        for loader in (self._full, self._half):
            loader.close()

    def __iter__(self) -> Iterator[Batch]:
        for batch, half in zip(self._full, self._half, strict=True):
            assert torch.equal(batch.frame_numbers, half.frame_numbers)
            clips = half.clips.repeat_interleave(2, -3).repeat_interleave(2, -2)
            clips[:, :, CENTRE] = batch.clips[:, :, CENTRE]
            yield batch._replace(clips=clips)


def logits_of(run: Path, config: Config, loader: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of the validation clips, by the run's last checkpoint."""
    settings = config.model
    model = tdn.create_model(
        settings.name,
        num_segments=settings.num_segments,
        num_classes=settings.num_classes,
        dropout=settings.dropout,
        width=settings.width,
    ).eval()
    tdn.load_checkpoint(model, run / "checkpoints" / "last.pt")
    with torch.inference_mode():
        found = [(model(batch.clips).float(), batch.labels) for batch in loader]
    logits, labels = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return logits, labels


def accuracy(logits: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    """Top-1 among all classes and within pairs, percent."""
    return {
        "top1": round(float(100 * (logits.argmax(1) == labels).mean()), 2),
        "within_pair": round(within_pair_accuracy(logits, labels, pairs), 2),
    }


def compare(seed: int, data: DemoData, folder: Path) -> dict[str, object]:
    """Train on either kind of frames and test on both."""
    pairs = read_pairs(data.classes)
    result: dict[str, object] = {"seed": seed}
    logits: dict[str, np.ndarray] = {}
    for trained, loaders in (("full", create_loader), ("half", HalfSizeLoader)):
        config = load_config(ROOT / "configs" / "demo.yaml")
        config.output, config.seed = str(folder / f"{trained}{seed}"), seed
        config.data.train_list = str(data.train_list)
        config.data.validation_list = str(data.validation_list)
        config.logging = dataclasses.replace(config.logging, tensorboard=False, progress=False)
        config.training.resume = "none"
        with mock.patch.object(tdn, "create_loader", loaders):
            train(config)
        for tested, tests in (("full", create_loader), ("half", HalfSizeLoader)):
            with closing(tests(config, "validation")) as loader:
                found, labels = logits_of(Path(config.output), config, loader)
            logits[f"{trained} on {tested}"] = found
            result[f"trained on {trained}, tested on {tested}"] = accuracy(found, labels, pairs)
    full, half = logits["full on full"], logits["full on half"]
    result["logits_moved"] = {
        "mean": round(float(np.abs(half - full).mean()), 4),
        "largest": round(float(np.abs(half - full).max()), 4),
        "spread_of_logits": round(float(full.std()), 4),
        "same_prediction": round(float(100 * (half.argmax(1) == full.argmax(1)).mean()), 2),
    }
    return result


def gain(data: DemoData, rounds: int = 5) -> dict[str, object]:
    """CPU-seconds per clip of all frames at 224 pixels, at 112, and of the centre ones at 224.

    Decoding is the same for all; what half-size frames would save is bounded by the difference
    between all frames at full and all at half size.
    """
    config = load_config(ROOT / "configs" / "demo.yaml")
    config.data.train_list = str(data.train_list)
    config.logging.progress = False
    seconds: dict[int, list[float]] = {224: [], 112: []}
    for _ in range(rounds):
        for side in seconds:
            config.data.crop_size = side
            with closing(create_loader(config, "train")) as loader:
                batches = iter(loader)
                next(batches)
                began, clips = time.process_time(), 0
                for batch, _ in zip(batches, range(12), strict=False):
                    clips += len(batch.labels)
                seconds[side].append((time.process_time() - began) / clips)
    full, half = (statistics.median(seconds[side]) for side in (224, 112))
    frame = as_size(224)[0] * as_size(224)[1] * 3
    return {
        "cpu_ms_per_clip_all_at_224": round(1e3 * full, 2),
        "cpu_ms_per_clip_all_at_112": round(1e3 * half, 2),
        "cpu_saved_at_most_percent": round(100 * (1 - half / full), 1),
        "bytes_per_segment": {"full": 5 * frame, "half": frame + 4 * frame // 4},
        "bytes_ratio": round(5 / 2, 2),
    }


def main(words: list[str] | None = None) -> None:
    """Run the experiment and write a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of data and training")
    parser.add_argument("--clips", type=int, default=480, help="training clips (480)")
    default = ROOT / "benchmarks" / "results" / "fewer-pixels-cpu.jsonl"
    parser.add_argument("--output", type=Path, default=default, help=f"({default.name})")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results: list[Result] = []
        for seed in arguments.seeds:
            data = write_demo_data(folder / f"data{seed}", clips=arguments.clips, seed=seed)
            line = compare(seed, data, folder) | gain(data)
            print(json.dumps(line, indent=2), flush=True)
            results += results_of("fewer_pixels", ("seed",), [line], surroundings("cpu"))
            write_results(arguments.output, results)


if __name__ == "__main__":
    main()
