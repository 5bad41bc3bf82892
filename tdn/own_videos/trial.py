"""A few steps of a training, by the clock: how long an epoch takes on this machine."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice

import torch
from torch.nn import functional as F

from tdn.config import Config
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.pipelines.loader import Batch, Loader, create_loader
from tdn.trained import create_network
from tdn.training.precision import choose_precision

STEPS = 4
"""That are timed, after one that is not: the first compiles kernels and fills caches."""
_LONGEST = 20.0
"""Seconds after which no further step begins."""
_BETWEEN = 0.1
"""Seconds that an epoch takes besides its steps: its record and its checkpoint."""


def measure_epoch(config: Config, processes: int = 1) -> tuple[float, int]:
    """How long an epoch takes, with decoding; and with which batch it fits in memory.

    A GPU that runs out of memory is given half the clips, until it does not.

    Args:
        config: The run's, with its lists.
        processes: Those that will train together.

    Returns:
        Seconds, and ``data.batch_size``.

    Raises:
        UserError: Not even one clip fits, or the lists are unusable.
    """
    while True:
        with suppress(torch.cuda.OutOfMemoryError), _quietly():
            loader = create_loader(config, "train")
            with closing(loader):
                step = _time_of_step(config, loader)
                return len(loader) // processes * step + _BETWEEN, config.data.batch_size
        torch.cuda.empty_cache()
        batch = config.data.batch_size // 2
        if not batch:
            raise UserError(
                "data.crop_size: the GPU's memory does not take one clip; give a smaller one, or a "
                "smaller network with model.name"
            )
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, batch_size=batch)
        )


def _time_of_step(config: Config, loader: Loader) -> float:
    """Seconds of a step: decoding, forward, backward and update."""
    device = resolve_device(config.training.device)
    precision = choose_precision(config.training.precision, device)
    model = create_network(config.model).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    scaler = precision.scaler()

    def step(batch: Batch) -> None:
        with precision.autocast():
            logits = model.train()(batch.clips)
        loss = F.cross_entropy(logits.float(), batch.labels.to(device))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if device.type == "cuda":
            torch.cuda.synchronize()

    batches = _endless(loader)
    step(next(batches))
    began, done = time.monotonic(), 0
    for batch in islice(batches, STEPS):
        step(batch)
        done += 1
        if time.monotonic() - began > _LONGEST:
            break
    return (time.monotonic() - began) / done


def _endless(loader: Loader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        yield from loader
        epoch += 1


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the loader's news: the run will tell them."""
    log = logging.getLogger("tdn.pipelines")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
