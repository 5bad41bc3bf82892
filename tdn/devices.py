"""Which device a process computes on."""

from __future__ import annotations

import os

import torch

from tdn.errors import UserError


def resolve_device(choice: str) -> torch.device:
    """The device for ``training.device``.

    Args:
        choice: "auto" (a GPU if there is one), "cpu" or "cuda". Under torchrun every process takes
            the GPU of its local rank.

    Raises:
        UserError: "cuda" is asked for and there is none, or fewer than processes.
    """
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("training.device: no CUDA GPU is visible to torch; use cpu or auto")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    count = torch.cuda.device_count()
    if index >= count:
        raise UserError(
            f"training.device: process {index} of this machine has no GPU, there are {count}; "
            f"start at most {count} processes per machine"
        )
    return torch.device("cuda", index)
