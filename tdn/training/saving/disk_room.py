"""Whether the checkpoints of a run will find room, known before its first step."""

from __future__ import annotations

import shutil

from torch import nn

from tdn.config import Config
from tdn.errors import UserError
from tdn.training.saving.run_folder import RunFolder

_MOMENTS = {"sgd": 1, "adamw": 2, "lamb": 2}
"""Values that an optimizer keeps for each weight."""
GB = 1e9


def check_room(folder: RunFolder, config: Config, model: nn.Module) -> None:
    """Refuse to start where the disk will be full when the run has all its checkpoints.

    These are ``training.keep``, the best one, and one that is being written.

    Args:
        folder: The run's; the checkpoints that it will replace count as room.
        config: The run's.
        model: The network.

    Raises:
        UserError: Says how much is missing.
    """
    count = config.training.keep + 2
    need = count * checkpoint_size(config, model)
    replaced = (folder.last, folder.best, *folder.earlier())
    there = sum(path.stat().st_size for path in replaced if path.exists())
    existing = next(path for path in (folder.root, *folder.root.parents) if path.exists())
    room = there + shutil.disk_usage(existing).free
    if room < need:
        raise UserError(
            f"output: {folder.root} has room for {room / GB:.2f} GB, but {count} checkpoints "
            f"take {need / GB:.2f} GB; make room, choose another folder, or lower training.keep"
        )


def checkpoint_size(config: Config, model: nn.Module) -> int:
    """Bytes of a checkpoint, but for what does not grow with the network."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    networks = 2 if config.training.ema else 1
    return networks * (weights + buffers) + _MOMENTS[config.optimizer.name] * trained
