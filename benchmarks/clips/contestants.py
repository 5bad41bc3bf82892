"""Who feeds a network: our loader, and torch's DataLoader around each of the peers."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import tdn
from benchmarks.clips.data import CODECS, JPEG
from benchmarks.clips.peers import PeerDataset, absence
from tdn.config import Config
from tdn.pipelines.streaming.memory import AHEAD

Fed = tuple[Tensor, Tensor]
"""Clips on the device, uint8 (N, T, 5, H, W, 3) or float32 (N, T*15, H, W), and their frame
numbers, (N, T, 5)."""

_PREFETCH = 2
"""Batches that a worker of torch's DataLoader prepares ahead: its default."""


class Feed(Protocol):
    """A loader that runs, over all epochs without a pause."""

    ahead: int
    """Batches that it may have ready, or half ready, before they are asked for."""

    def __iter__(self) -> Iterator[Fed]: ...

    def close(self) -> None:
        """End it, and its processes."""


@dataclass(frozen=True)
class Contestant:
    """A way to feed a network."""

    name: str
    library: str
    """That decodes and resizes: "tdn" for our loader, else of ``peers.LIBRARIES``."""
    sources: tuple[str, ...]
    """That it can read."""
    as_float: bool = False
    """Whether its batches are normalised, as upstream's are; else uint8."""
    on_cpu: bool = False
    """Whether it stays on the CPU where the run is on a GPU."""

    @property
    def is_ours(self) -> bool:
        """Whether it is this product's loader."""
        return self.library == "tdn"

    def absence(self) -> str:
        """Why it cannot take part, "" if it can."""
        return absence(self.library)

    def start(self, config: Config, device: str) -> Feed:
        """Start it.

        Args:
            config: whose training it feeds; its loader's threads are the peers' worker processes.
            device: "cpu" or "cuda", where the batches are to arrive.
        """
        if self.is_ours:
            return _OurFeed(config, "cpu" if self.on_cpu else device, device)
        return _PeerFeed(config, self.library, self.as_float, device)


_VIDEOS = tuple(CODECS)
OURS = Contestant("ours", "tdn", (*_VIDEOS, JPEG))
OURS_ON_CPU = Contestant("ours on the CPU", "tdn", (*_VIDEOS, JPEG), on_cpu=True)
PEERS = tuple(
    Contestant(name if as_float else f"{name} uint8", library, sources, as_float)
    for name, library, sources in (
        ("PyAV+PIL", "pyav", _VIDEOS),
        ("decord+PIL", "decord", _VIDEOS),
        ("torchcodec+PIL", "torchcodec", _VIDEOS),
        ("PIL", "PIL", (JPEG,)),
    )
    for as_float in (True, False)
)
CONTESTANTS = (OURS, OURS_ON_CPU, *PEERS)
BACKENDS = {c.name.lower().replace(" ", "-"): c for c in CONTESTANTS}
"""By the names that the command line has for them."""


class _OurFeed:
    def __init__(self, config: Config, device: str, target: str) -> None:
        config = copy.deepcopy(config)
        config.training.device = "cuda" if device == "cuda" else "cpu"
        self.ahead = config.data.prefetch + AHEAD + 1
        self._target = target
        self._loader = tdn.create_loader(config, "train")

    def __iter__(self) -> Iterator[Fed]:
        for epoch in itertools.count():
            self._loader.set_epoch(epoch)
            for batch in self._loader:
                yield batch.clips.to(self._target), batch.frame_numbers

    def close(self) -> None:
        self._loader.close()


class _PeerFeed:
    def __init__(self, config: Config, library: str, as_float: bool, device: str) -> None:
        workers = config.data.num_threads
        self.ahead = workers * _PREFETCH + 1
        self._device = device
        # Forked from a process without threads: those of others do not survive a fork.
        torch.multiprocessing.set_forkserver_preload(["benchmarks.clips.peers", "av"])
        self._loader = DataLoader(
            PeerDataset(config, library, as_float),
            batch_size=None,  # the dataset gives whole batches
            sampler=itertools.count(),  # all it needs is to be iterated
            num_workers=workers,
            prefetch_factor=_PREFETCH,
            pin_memory=device == "cuda",
            multiprocessing_context="forkserver",
        )
        self._batches = iter(self._loader)

    def __iter__(self) -> Iterator[Fed]:
        for clips, frame_numbers in self._batches:
            yield clips.to(self._device, non_blocking=True), frame_numbers

    def close(self) -> None:
        del self._batches  # which ends the workers
