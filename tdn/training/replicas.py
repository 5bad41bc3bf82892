"""Replicas of the network, one per process, whose gradients are averaged."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tdn.training.distributed import Processes


def replicated(model: nn.Module, processes: Processes) -> nn.Module:
    """The network with its gradients averaged over the processes; alone, the network itself.

    Buffers are not broadcast every step: while training nothing reads the running statistics of
    batch norm, and everyone takes the main process's before a validation and they are what a
    checkpoint holds, as if they had been. Batch statistics are each process's own, as published.
    """
    if processes.alone:
        return model
    device = processes.device
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.13 renamed the option and warns of its former name.
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    if device.type == "cuda":
        settings["device_ids"] = [device.index]
    return DistributedDataParallel(model, **settings)


def averaging(network: nn.Module, now: bool) -> AbstractContextManager[None]:
    """The context for a forward and a backward pass of ``replicated``'s network.

    Args:
        network: The network.
        now: Whether gradients are averaged in this pass; else they add up on each process.
    """
    if now or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    return network.no_sync()
