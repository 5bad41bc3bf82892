"""The processes of a run: one alone, or those that ``torchrun`` started.

``torchrun`` says in the environment who a process is (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR);
nothing here depends on how many hosts there are. Without it a process is alone and needs no group.
Tensors on a GPU travel by NCCL, everything on the CPU by gloo.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tdn.allocator import keep_freed_memory
from tdn.config import TrainingConfig
from tdn.devices import resolve_device
from tdn.errors import UserError
from tdn.training.processes import leaving
from tdn.training.processes.board import Board
from tdn.training.processes.hosts import introduce, open_board
from tdn.training.processes.leaving import USER_ERROR, KnownError, KnownExit, end_undisturbed, leave
from tdn.training.processes.meeting import meet
from tdn.training.processes.whereabouts import NvtxRanges, Whereabouts

_STORES: list[dist.Store] = []
"""Kept until Python ends: where the main process has the store, others may still ask it."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those of the run."""

    rank: int
    world_size: int
    device: torch.device
    """Where this process computes."""
    board: Board = field(default_factory=lambda: Board(None))
    """Where they read what cannot wait for the next step."""
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    """Where this process stands."""
    restarted: bool = False
    """Whether other processes have met where these did: ``torchrun`` has started them again."""

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

    def about_to_end(self) -> None:
        """This process ends, for a reason that the others do not know of yet."""
        if not self.alone:
            end_undisturbed()

    def failure(self, message: str) -> BaseException:
        """The exception for an error that every process knows of: one of them tells the user."""
        return KnownError(message) if self.is_main else KnownExit(USER_ERROR)

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
    if device.type == "cpu":
        keep_freed_memory()
    if training.cpu_threads:
        torch.set_num_threads(training.cpu_threads)
    if "RANK" not in os.environ:
        yield Processes(rank=0, world_size=1, device=device, whereabouts=whereabouts)
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    rank, world_size, board, restarted = _join(backend, training.stall_timeout)
    try:
        yield Processes(rank, world_size, device, board, whereabouts, restarted)
    except (KnownError, KnownExit) as error:
        _part(board)
        if isinstance(error, KnownExit):
            time.sleep(leaving.LINGER)
        raise
    except BaseException as error:
        # The others may wait in a collective, and to destroy the group would wait too.
        departure = leave(error, rank, board)
        if departure is error:
            raise
        raise departure from None
    _part(board)


def _part(board: Board) -> None:
    """Leave the group in order."""
    dist.destroy_process_group()
    board.close()


def _join(backend: str, stall_timeout: float) -> tuple[int, int, Board, bool]:
    """Form a group with the others.

    Returns:
        Rank, number of processes, their board, and whether others have met there before.
    """
    store, rank, world_size = next(dist.rendezvous("env://"))
    _STORES.append(store)
    me = f"{platform.node()} {os.getpid()}".encode()
    first = store.compare_set(f"tdn first {rank}", "", me.decode())
    restarted = first != me
    store = meet(store, rank, world_size)
    introduce(store)
    # The watchdog is to be the first that loses patience: it says where everyone stands.
    patience = timedelta(seconds=max(1800, 2 * stall_timeout)) if stall_timeout else None
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=world_size, timeout=patience
    )
    return rank, world_size, open_board(store), restarted


def device_name(device: torch.device) -> str:
    """The device in words, such as "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
