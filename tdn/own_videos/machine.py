"""What a machine offers to a training."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tdn.devices import resolve_device
from tdn.doctor.processors import look as processors_here

GB = 1e9


class Machine(NamedTuple):
    """Where a network is to be trained."""

    cores: int
    """CPU cores' worth of time."""
    memory: int
    """Bytes of the GPU with the least; without a GPU, those that are free."""
    gpus: int = 0
    """That torch sees and the run may take; 0 for a training on the CPU."""
    gpu_name: str = ""
    half: bool = False
    """Whether the network is computed in 16 bits."""

    def __str__(self) -> str:
        cores = f"{self.cores} CPU core{'s' if self.cores > 1 else ''}"
        if not self.gpus:
            return f"{cores}, {self.memory / GB:.0f} GB of memory free, no GPU"
        count = f"{self.gpus} x " if self.gpus > 1 else ""
        return f"{count}{self.gpu_name} with {self.memory / GB:.0f} GB, {cores}"


def this_machine(device: str = "auto", precision: str = "auto") -> Machine:
    """What there is here.

    Args:
        device: ``training.device``.
        precision: ``training.precision``.

    Raises:
        UserError: The device is not there.
    """
    processors = processors_here()
    if resolve_device(device).type == "cpu":
        return Machine(processors.usable, processors.free_memory)
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    smallest = min(gpus, key=lambda gpu: gpu.total_memory)
    half = precision in ("auto", "bf16", "fp16")
    return Machine(processors.usable, smallest.total_memory, len(gpus), smallest.name, half)
