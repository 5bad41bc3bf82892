"""The processes of a run: one alone, or those that ``torchrun`` started.

``torchrun`` says in the environment who a process is (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR);
nothing here depends on how many hosts there are. Without it a process is alone and needs no group.
Tensors on a GPU travel by NCCL, everything on the CPU by gloo.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tdn.config import TrainingConfig
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.training.whereabouts import NvtxRanges, Whereabouts

EXPECTED = (UserError, SystemExit)
"""Exceptions that find the processes in order: between two steps, no communication missed."""

_groups = itertools.count()


@dataclass(frozen=True)
class Processes:
    """This process's place among those of the run."""

    rank: int
    world_size: int
    device: torch.device
    """Where this process computes."""
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    """Where this process stands."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no other processes."""
        return self.world_size == 1

    def any(self, flag: bool) -> bool:
        """Whether it is true on any of the processes; all must call it."""
        return bool(self.sum(torch.tensor(int(flag))))

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, in place; all must call it."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """Everyone's value, in order of rank; all must call it.

        Arrays stay off the GPU. Every process receives everything: keep large values to
        ``gather_to_main``.
        """
        if self.alone:
            return [value]
        values = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def gather_to_main(self, value: Any) -> list[Any]:
        """Everyone's value in order of rank on the main process, [] on others; all must call it."""
        if self.alone:
            return [value]
        values = [None] * self.world_size if self.is_main else None
        dist.gather_object(value, values)
        return values or []

    def from_main(self, value: Any) -> Any:
        """The main process's value; all must call it."""
        return value if self.alone else self.gather(value if self.is_main else None)[0]

    def take_buffers_from_main(self, module: nn.Module) -> None:
        """Give every process the main one's buffers (batch norm's running statistics)."""
        if not self.alone:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def failure(self, message: str) -> BaseException:
        """The exception for an error that every process knows of: one of them tells the user."""
        return UserError(message) if self.is_main else SystemExit(2)

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """End every process when one of them meets a user's mistake in the block.

        The block must hold no communication of its own. Without this the others would wait for
        the one that failed, or each would print the same message.
        """
        message = None
        try:
            yield
        except UserError as error:
            message = str(error)
        messages = [found for found in self.gather(message) if found is not None]
        if messages:
            raise self.failure(messages[0]) from None


@contextmanager
def open_processes(training: TrainingConfig) -> Iterator[Processes]:
    """Set up the device, join the processes of this run, and leave them cleanly at the end.

    Args:
        training: ``device`` and ``cpu_threads`` are read.

    Raises:
        UserError: The device is not there.
    """
    device = resolve_device(training.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # batches have the same shape, but for a last one
    whereabouts = Whereabouts(*([NvtxRanges()] if device.type == "cuda" else []))
    if training.cpu_threads:
        torch.set_num_threads(training.cpu_threads)
    if "RANK" not in os.environ:
        yield Processes(rank=0, world_size=1, device=device, whereabouts=whereabouts)
        return
    rank, world_size = _join("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank, world_size, device, whereabouts)
    except EXPECTED:
        dist.destroy_process_group()
        raise
    # After any other exception the others may wait in a collective, and leaving would wait too.
    dist.destroy_process_group()


def _join(backend: str) -> tuple[int, int]:
    """Form a group with the others; gives rank and number of processes."""
    store, rank, world_size = next(dist.rendezvous("env://"))
    # A name of its own for each group of this program: in a second one, as when an evaluation
    # follows a training, processes would else find the addresses of the first, and hang.
    store = dist.PrefixStore(f"tdn/{next(_groups)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    return rank, world_size


def device_name(device: torch.device) -> str:
    """The device in words, such as "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
