"""The demonstration, start to end: what ``make demo`` runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.demo.contact_sheet import Cell, save_contact_sheet
from tdn.demo.pairs import read_pairs, within_pair_accuracy
from tdn.errors import UserError
from tdn.evaluation.evaluator import evaluate
from tdn.machine import usable_cores
from tdn.pipelines.demo_data import DemoData, write_demo_data
from tdn.pipelines.loader import create_loader

NETWORKS = ("tdn", "tsn")
_SHEET_CLIPS_PER_CLASS = 1


class Results(NamedTuple):
    """What one network reached on the validation clips."""

    metrics: dict[str, float]
    """top1, top5, within_pair, in percent."""
    predictions: npt.NDArray[np.int64]
    """(clips,) predicted labels, by row of the validation list."""


class Stopwatch(dict[str, float]):
    """Seconds by name of what was timed."""

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.monotonic()
        yield
        self[name] = round(time.monotonic() - began, 1)


def run_demo(
    config_path: Path, output: Path, seed: int, clips: int = 480, validation_clips: int = 192
) -> dict[str, Any]:
    """Make data, train TDN and the frame-only baseline on it, compare them, draw clips.

    Args:
        config_path: Configuration of the network that is trained; lists and output are replaced.
        output: Folder for everything.
        seed: Seed of the data and of both trainings.
        clips: Training clips.
        validation_clips: Validation clips.

    Returns:
        What ``<output>/summary.json`` holds.
    """
    sheet, summary_file = output / "predictions.png", output / "summary.json"
    for former in (sheet, summary_file):  # an interrupted run must not show another one's results
        former.unlink(missing_ok=True)
    seconds = Stopwatch()
    config = load_config(config_path)
    with seconds.time("data"):
        print("1. Making videos: motions that a single frame cannot tell apart", flush=True)
        folder = output / f"data_seed{seed}"
        data = write_demo_data(
            folder,
            classes=config.model.num_classes,
            clips=clips,
            validation_clips=validation_clips,
            seed=seed,
        )
    results = {}
    for number, network in enumerate(NETWORKS, start=2):
        with seconds.time(f"train_{network}"):
            print(f"{number}. Training {_TITLES[network]}", flush=True)
            run = _train(network, config_path, data, output, seed)
        with seconds.time(f"evaluate_{network}"):
            results[network] = _evaluate(run, data)
    with seconds.time("picture"):
        _draw(results, load_config(output / "tdn" / "config.yaml"), data, sheet)
    summary = {
        **{network: results[network].metrics for network in NETWORKS},
        "chance": round(100 / config.model.num_classes, 2),
        "seconds": {**seconds, "total": round(sum(seconds.values()), 1)},
        "seed": seed,
    }
    summary_file.write_text(json.dumps(summary, indent=2) + "\n")
    _print_table(summary, config.model.num_classes)
    _print_places(output, sheet, data)
    return summary


_TITLES = {
    "tdn": "TDN: short-term and long-term temporal differences",
    "tsn": "the frame-only baseline (TSN): the same network without them",
}


def _train(network: str, config_path: Path, data: DemoData, output: Path, seed: int) -> Path:
    """Train one network as a user would, under torchrun; returns its run folder."""
    config = load_config(config_path)
    processes = _processes()
    run = output / network
    overrides = {
        "output": run,
        "seed": seed,
        "model.name": f"{network}_{config.model.name.split('_', 1)[1]}",
        "data.train_list": data.train_list,
        "data.validation_list": data.validation_list,
        "data.classes": data.labels,
        # The recipe's batch is that of all processes together.
        "data.batch_size": max(1, config.data.batch_size // processes),
        "training.resume": "none",
    }
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    arguments = ["-m", "tdn", "train", "--config", str(config_path), *words]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *torchrun, *arguments], env=environment, check=False)
    if done.returncode != 0:
        raise UserError(f"training stopped with status {done.returncode}; its messages are above")
    return run


def _processes() -> int:
    """One process per GPU; on the CPU two, each with one thread, where there are two cores."""
    return torch.cuda.device_count() if torch.cuda.is_available() else min(2, usable_cores())


def _evaluate(run: Path, data: DemoData) -> Results:
    """Score the validation clips with the last checkpoint (not the best: that one is selected)."""
    metrics = evaluate(run / "config.yaml", run / "checkpoints" / "last.pt")
    with np.load(run / "scores.npz") as scores:
        rows, labels, logits = scores["indices"], scores["labels"], scores["scores"].mean(axis=1)
    within = within_pair_accuracy(logits, labels, read_pairs(data.classes))
    predictions = np.empty(rows.max() + 1, np.int64)
    predictions[rows] = logits.argmax(axis=1)
    kept = {"top1": metrics["top1"], "top5": metrics["top5"], "within_pair": within}
    return Results({name: round(value, 2) for name, value in kept.items()}, predictions)


def _draw(results: dict[str, Results], config: Config, data: DemoData, path: Path) -> None:
    """The first validation clips of every class, as the network sees them."""
    names = data.labels.read_text(encoding="utf-8").splitlines()
    drawn: dict[int, list[Cell]] = {label: [] for label in range(len(names))}
    loader = create_loader(config, "validation")
    for batch in loader:
        for clip, label, row in zip(batch.clips, batch.labels, batch.indices, strict=True):
            cells = drawn[int(label)]
            if len(cells) < _SHEET_CLIPS_PER_CLASS:
                predicted = [(n.upper(), names[results[n].predictions[row]]) for n in NETWORKS]
                centres = clip[:, clip.shape[1] // 2].cpu().numpy()
                cells.append(Cell(centres, names[label], predicted))
        if all(len(cells) == _SHEET_CLIPS_PER_CLASS for cells in drawn.values()):
            break
    loader.close()
    save_contact_sheet([cell for cells in drawn.values() for cell in cells], path)


def _print_table(summary: dict[str, Any], classes: int) -> None:
    print(f"\n{'':24}{'top-1':>9}{'top-5':>9}{'within pairs':>15}")
    for network, name in (("tdn", "TDN"), ("tsn", "TSN (single frames)")):
        row = summary[network]
        print(
            f"{name:24}{row['top1']:8.1f}%{row['top5']:8.1f}%{row['within_pair']:14.1f}%",
        )
    one, five = (min(count * 100 / classes, 100) for count in (1, 5))
    print(f"{'chance':24}{one:8.1f}%{five:8.1f}%{50:14.1f}%")


def _print_places(output: Path, sheet: Path, data: DemoData) -> None:
    total = json.loads((output / "summary.json").read_text())["seconds"]["total"]
    print(f"\nDone in {total:.0f} s. Look at:")
    for path, what in (
        (sheet, "validation clips with true and predicted classes"),
        (output / "summary.json", "the table above"),
        (data.folder, "the videos and lists"),
        (output / "tdn", "the TDN run: config.yaml, log.jsonl, checkpoints, TensorBoard curves"),
        (output / "tsn", "the baseline's run"),
    ):
        print(f"  {path}  {what}")
