"""Runs of the small problem, and what they have left; for the tests beside."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import torch

from tdn.training.trainer import TrainingResult, train
from tests.tdn.synthetic import tiny_config


def run(folder: Path, **settings: object) -> TrainingResult:
    return train(tiny_config(str(folder), **settings))


def events(folder: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Everything a checkpoint has learned: weights, running statistics, momentum."""
    checkpoint = torch.load(path, weights_only=True)
    momenta = checkpoint["optimizer"]["state"]
    return checkpoint["model"] | {
        f"{index}.{key}": value for index, state in momenta.items() for key, value in state.items()
    }


def assert_same(first: Path, second: Path) -> None:
    one, other = tensors(first), tensors(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def ask_to_stop(at: tuple[int, int], number: int = signal.SIGUSR2):
    return lambda epoch, step: signal.raise_signal(number) if (epoch, step) == at else None


def fail(at: tuple[int, int]):
    def hook(epoch: int, step: int) -> None:
        if (epoch, step) == at:
            raise ConnectionError("storage went away")

    return hook
