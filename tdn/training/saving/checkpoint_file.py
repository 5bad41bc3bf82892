"""A checkpoint of a run as a file: written whole, verified when it is read.

``torch.save`` writes an archive in which every tensor has a CRC-32, and ``torch.load`` ignores
them: a bit that the storage flipped would go on into the weights. Here they are compared first.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from tdn.errors import UserError
from tdn.files import write_atomically

Checkpoint = dict[str, Any]

REMEDY = "make room and resume"
"""What to do when a run folder cannot be written."""

_NEEDED = {
    *("model", "optimizer", "scaler", "config"),
    *("epoch", "step_in_epoch", "step", "top1", "top5", "best_top1"),
    *("steps_per_epoch", "global_batch", "videos", "unread"),
}


class DamagedError(UserError):
    """A file that is no whole checkpoint; another one may take its place."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint, or leave the former one as it is.

    Raises:
        UserError: The folder cannot be written or is full.
    """
    write_atomically(path, lambda file: torch.save(checkpoint, file), REMEDY)


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of a run, on the CPU.

    Raises:
        DamagedError: Its content is not what was written, or cannot be read from the storage.
        UserError: There is none, it may not be read, or it holds no training state.
    """
    try:
        damaged = _damaged_member(path)
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(
            f"training.resume: {path}: no such file; give a checkpoint of a run, auto or none"
        ) from None
    except PermissionError:
        raise UserError(f"{path}: not readable; change its permissions") from None
    except Exception as error:  # whatever two readers make of damaged bytes
        reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0]
        raise DamagedError(
            f"{path}: damaged, or no checkpoint ({reason}); resume from another one, or "
            "training.resume none"
        ) from None
    if not isinstance(checkpoint, dict) or not set(checkpoint) >= _NEEDED:
        raise UserError(
            f"{path}: holds no training state to resume; to start from its weights use "
            "model.pretrained"
        )
    return checkpoint


def _damaged_member(path: Path) -> str | None:
    """The first file in the archive whose checksum is wrong."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()
