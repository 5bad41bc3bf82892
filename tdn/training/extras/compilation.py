"""Compiling the network for its training steps: ``training.compile``.

What is compiled shares parameters and buffers with the network, which stays what is validated,
averaged and saved: checkpoints are the same ones, and a run may go on with or without.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from tdn.errors import UserError

BACKEND = "inductor"


def check_compiler(mode: str, device: torch.device) -> None:
    """Find out in seconds whether torch can compile here; the first step takes minutes.

    Args:
        mode: ``training.compile``.
        device: Where the network runs.

    Raises:
        UserError: It cannot, for want of a compiler perhaps; or CUDA graphs without a GPU.
    """
    if mode == "none":
        return
    if mode == "reduce-overhead" and device.type != "cuda":
        raise UserError(
            "training.compile: reduce-overhead records CUDA graphs and needs a GPU; give default"
        )
    values = torch.ones(16, device=device)
    try:
        torch.compile(_trial, backend=BACKEND)(values)
    except Exception as error:  # of any kind: from compilers, assemblers, file systems
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"training.compile: torch cannot compile here ({reason}); it needs g++ and Python's "
            "headers, on a GPU gcc; install them, or give none"
        ) from error


def _trial(x: torch.Tensor) -> torch.Tensor:
    return x.cos() + 1


def compiled(model: nn.Module, mode: str) -> nn.Module:
    """A network as ``training.compile`` wants it in a step; the network itself for none.

    Under DistributedDataParallel it is compiled in parts, so that the gradients of one travel while
    the next is computed.
    """
    if mode == "none":
        return model
    # All batches of a training have one shape.
    return cast(nn.Module, torch.compile(model, backend=BACKEND, mode=mode, dynamic=False))
