"""The run folder: configuration, log and checkpoints, each whole at every moment.

Only the main process writes; all processes read, so on several hosts the folder must be on storage
they share.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from tdn.errors import UserError
from tdn.files import write_atomically

Checkpoint = dict[str, Any]
_REMEDY = "make room and resume"

_NEEDED = {
    *("model", "optimizer", "scaler", "config"),
    *("epoch", "step_in_epoch", "step", "top1", "top5", "best_top1"),
    *("steps_per_epoch", "global_batch", "videos"),
}


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint of a run, on the CPU.

    Raises:
        UserError: There is none, it is damaged, or it holds no training state.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(
            f"training.resume: {path}: no such file; give a checkpoint of a run, auto or none"
        ) from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        raise UserError(
            f"{path}: not a readable checkpoint; resume from another one, or training.resume none"
        ) from None
    if not isinstance(checkpoint, dict) or not set(checkpoint) >= _NEEDED:
        raise UserError(
            f"{path}: holds no training state to resume; to start from its weights use "
            "model.pretrained"
        )
    return checkpoint


def make_folder(folder: str | Path) -> Path:
    """Make a folder for output, with its parents, unless it is there.

    Raises:
        UserError: It cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output: {folder} cannot be made ({error.strerror}); choose another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"output: {folder} is not writable; choose another folder")
    return folder


class RunFolder:
    """The files of one run.

    Args:
        root: The folder; it is made if it is not there.

    Raises:
        UserError: It cannot be made or written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.log = self.root / "log.jsonl"
        self.tensorboard = self.root / "tensorboard"
        self.last = self.root / "checkpoints" / "last.pt"
        self.best = self.root / "checkpoints" / "best.pt"
        self.interrupted = self.root / "interrupted.json"
        make_folder(self.last.parent)

    def find_checkpoint(self, resume: str) -> Path | None:
        """The checkpoint that ``training.resume`` means, if any.

        Args:
            resume: auto (this folder's last), none, or a path.
        """
        if resume == "none":
            return None
        if resume == "auto":
            return self.last if self.last.exists() else None
        return Path(resume)

    def begin(self, config_yaml: str, resumed_from: Path | None) -> None:
        """Write the configuration; clear a former run away, unless this one goes on with it."""
        if resumed_from is None or self.last.parent.resolve() not in resumed_from.resolve().parents:
            for path in (self.last, self.best, self.log, *self.tensorboard.glob("events.*")):
                path.unlink(missing_ok=True)
        self.interrupted.unlink(missing_ok=True)
        write_atomically(self.config, lambda file: file.write(config_yaml.encode()), _REMEDY)

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        """Write a checkpoint to ``last`` or ``best``."""
        write_atomically(path, lambda file: torch.save(checkpoint, file), _REMEDY)

    def mark_interrupted(self, step: int) -> None:
        """Leave a note that the run stopped on request and can be resumed.

        ``torchrun`` exits with 1 for many reasons; a script that decides whether to queue the job
        again looks for this file.
        """
        note = json.dumps({"step": step, "checkpoint": str(self.last)}) + "\n"
        write_atomically(self.interrupted, lambda file: file.write(note.encode()), _REMEDY)
