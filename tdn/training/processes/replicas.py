"""Replicas of the network, one per process, whose gradients are averaged."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from tdn.training.processes.distributed import Processes


def replicated(
    model: nn.Module,
    processes: Processes,
    passes: int = 1,
    compression: str = "none",
    group: dist.ProcessGroup | None = None,
) -> nn.Module:
    """The network with its gradients averaged over the processes; alone, the network itself.

    Buffers are not broadcast every step: while training nothing reads the running statistics of
    batch norm, and everyone takes the main process's before a validation and they are what a
    checkpoint holds, as if they had been.

    Args:
        model: The network, all of whose trained parameters take part in every pass.
        processes: Those that train together.
        passes: Forward and backward passes of an update, by ``training.accumulate``.
        compression: ``training.gradient_compression``.
        group: Theirs, if they are not all that there are.
    """
    if processes.alone:
        return model
    device = processes.device
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.13 renamed the option and warns of its former name.
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {"gradient_as_bucket_view": True, buffers: False}
    settings["process_group"] = group
    settings["static_graph"] = passes == 1  # it cannot leave out the averaging of some passes
    if device.type == "cuda":
        settings["device_ids"] = [device.index]
    network = DistributedDataParallel(model, **settings)
    if compression == "bf16":
        network.register_comm_hook(None, _average_in_bf16)
    return network


def _average_in_bf16(group, bucket):  # type: ignore[no-untyped-def]
    # Under its own name torch takes the hook with NCCL only, though gloo can do it.
    return bf16_compress_hook(group, bucket)


def averaging(network: nn.Module, now: bool) -> AbstractContextManager[None]:
    """The context for a forward and a backward pass of ``replicated``'s network.

    Args:
        network: The network.
        now: Whether gradients are averaged in this pass; else they add up on each process.
    """
    if now or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    return network.no_sync()
