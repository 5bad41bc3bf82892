"""What a training step keeps, and what memory of a GPU it takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness.resident_step import BareStep


def kept_bytes(step: BareStep) -> int:
    """What a forward pass keeps for the backward pass, but for the parameters.

    A measure of memory that does not depend on the device. Compiled networks keep it out of sight.
    """
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = step.forward()
    del loss
    return sum(sizes.values())


def allocated(device: torch.device) -> int:
    """Bytes of the GPU's memory that tensors take; 0 for a CPU."""
    if device.type == "cpu":
        return 0
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


def peak(step: Callable[[], object]) -> int:
    """Most bytes of the GPU's memory in use during a step, those included that were before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def graph_pools() -> int:
    """Bytes of the GPU's memory that CUDA graphs have for themselves."""
    return sum(
        segment["total_size"]
        for segment in torch.cuda.memory_snapshot()
        if tuple(segment["segment_pool_id"]) != (0, 0)
    )
