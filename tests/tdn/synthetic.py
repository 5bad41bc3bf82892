"""A small problem with the real loader's interface: clips of noise, brighter or darker by class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tdn.config import Config
from tdn.errors import UserError

SEGMENTS, SIDE, CLASSES = 2, 4, 6


class Batch(NamedTuple):
    clips: Tensor
    labels: Tensor
    indices: Tensor
    frame_numbers: Tensor
    views: Tensor


class SyntheticLoader:
    """As ``tdn.pipelines.loader.Loader``; the number of videos stands in place of the list."""

    def __init__(self, config: Config, split: str, rank: int, world_size: int) -> None:
        self.train = split == "train"
        lists = config.data.train_list, config.data.validation_list
        self.count = int(lists[0] if self.train else lists[1])
        self.views_per_video = 1
        self.listed = self.videos = self.count
        self.classes: tuple[str, ...] = ()
        self.batch_size, self.seed = config.data.batch_size, config.seed
        self.accumulate = config.training.accumulate
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start_step = 0
        self.before_batch: Callable[[int, int], object] = lambda *_: None
        self.served: list[tuple[int, int, list[int]]] = []
        self.lost: set[int] = set()
        self.closed = False

    def __len__(self) -> int:
        return len(self._shares()) - self.start_step

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        self.epoch, self.start_step = epoch, start_step

    def __iter__(self) -> Iterator[Batch]:
        shares = self._shares()
        for step in range(self.start_step, len(shares)):
            self.before_batch(self.epoch, step)
            self.served.append((self.epoch, step, shares[step].tolist()))
            yield make_batch(shares[step])

    def fingerprint(self) -> str:
        return str(self.count)

    @property
    def batches(self) -> int:
        return -(-self.count // self.batch_size)

    def batch_number(self, batch: Batch) -> int:
        return int(batch.indices[0]) // self.batch_size

    def close(self) -> None:
        self.closed = True

    def _shares(self) -> list[np.ndarray]:
        """This process's rows of every step."""
        if not self.train:
            rows = np.arange(self.count)
            starts = range(0, self.count, self.batch_size)
            batches = [rows[start : start + self.batch_size] for start in starts]
            return batches[self.rank :: self.world_size]
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        together = self.batch_size * self.world_size
        steps = self.count // (together * self.accumulate) * self.accumulate
        return list(order[: steps * together].reshape(steps, self.world_size, -1)[:, self.rank])


def make_batch(rows: np.ndarray) -> Batch:
    clips = []
    for row in rows:
        noise = np.random.default_rng(int(row)).integers(
            0, 60, (SEGMENTS, 5, SIDE, SIDE, 3), dtype=np.uint8
        )
        noise[..., int(row) % CLASSES % SIDE, :, int(row) % CLASSES % 3] += 150
        clips.append(noise)
    frame_numbers = torch.zeros(len(rows), SEGMENTS, 5, dtype=torch.int64)
    indices = torch.from_numpy(np.asarray(rows, np.int64))
    views = torch.zeros_like(indices)
    return Batch(
        torch.from_numpy(np.stack(clips)), indices % CLASSES, indices, frame_numbers, views
    )


def create_loader(
    config: Config, split: str, rank: int = 0, world_size: int = 1
) -> SyntheticLoader:
    return SyntheticLoader(config, split, rank, world_size)


class TinyNetwork(nn.Module):
    """(B, T, 5, H, W, 3) uint8 to (B, classes); "bn" in its name gives it batch norm."""

    def __init__(self, name: str, num_classes: int, dropout: float, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(SIDE * SIDE * 3, width)
        self.norm = nn.BatchNorm1d(width) if "bn" in name else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.float().div(255).mean((1, 2)).flatten(1)
        return self.head(self.dropout(torch.relu(self.norm(self.hidden(x)))))


def create_model(
    name: str, *, num_classes: int, dropout: float, width: int, **_: object
) -> TinyNetwork:
    return TinyNetwork(name, num_classes, dropout, width)


class LoadReport(NamedTuple):
    path: str
    format: str = "weights"
    left_initial: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    averaged: bool = False


def load_checkpoint(
    model: nn.Module, path: str, *, new_head: bool = False, raw: bool = False
) -> LoadReport:
    if not Path(path).exists():
        raise UserError(f"{path}: no such file")
    content = torch.load(path, weights_only=True)
    averaged = "ema" in content and not raw
    state = content["ema" if averaged else "model"]
    own = model.state_dict()
    head = tuple(name for name in own if name.startswith("head."))
    if new_head:
        state |= {name: own[name] for name in head}
    elif any(state[name].shape != own[name].shape for name in head):
        raise UserError(f"{path}: another number of classes")
    model.load_state_dict(state)
    left_initial = head if new_head else ()
    return LoadReport(
        str(path), left_initial=left_initial, classes=tuple(content["classes"]), averaged=averaged
    )


def tiny_config(output: str, **settings: object) -> Config:
    """A configuration of the problem; settings are dotted keys with __ for the dot."""
    config = Config(output=output)
    config.model.name, config.model.num_classes = "tiny_bn", CLASSES
    config.model.num_segments, config.model.width = SEGMENTS, 16
    config.data.train_list, config.data.validation_list = "44", "30"
    config.data.batch_size = 8
    config.optimizer.lr = 0.1
    config.schedule.name = "cosine"
    config.training.epochs, config.training.log_every = 3, 2
    config.training.device = "cpu"
    config.logging.tensorboard = config.logging.progress = False
    for key, value in settings.items():
        *section, name = key.split("__")
        setattr(getattr(config, section[0]) if section else config, name, value)
    return config
