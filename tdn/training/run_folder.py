"""The run folder: configuration, log and checkpoints, each whole at every moment.

A file is written under another name, forced to the disk and then renamed, so a crash or a full disk
leaves the former one in place. Only the main process writes; all processes read, so on several
hosts the folder must be on storage they share.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from tdn.errors import UserError

Checkpoint = dict[str, Any]

_NEEDED = {
    *("model", "optimizer", "scaler", "config"),
    *("epoch", "step_in_epoch", "step", "top1", "top5", "best_top1"),
    *("steps_per_epoch", "global_batch", "videos"),
}


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace a file by what ``write`` puts out, or leave it as it is.

    Raises:
        UserError: The folder cannot be written or is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # the name of torch.save's writer; anything else is no fault of the disk
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise UserError(f"{path}: cannot be written ({reason}); make room and resume") from None


def _sync_folder(folder: Path) -> None:
    """Make a renaming last: it is the folder that records it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        write_atomically(self.config, lambda file: file.write(config_yaml.encode()))

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        """Write a checkpoint to ``last`` or ``best``."""
        write_atomically(path, lambda file: torch.save(checkpoint, file))

    def mark_interrupted(self, step: int) -> None:
        """Leave a note that the run stopped on request and can be resumed.

        ``torchrun`` exits with 1 for many reasons; a script that decides whether to queue the job
        again looks for this file.
        """
        note = json.dumps({"step": step, "checkpoint": str(self.last)}) + "\n"
        write_atomically(self.interrupted, lambda file: file.write(note.encode()))
