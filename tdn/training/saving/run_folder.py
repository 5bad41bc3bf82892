"""The run folder: configuration, log and checkpoints, each whole at every moment.

Only the main process writes; all processes read, so on several hosts the folder must be on storage
they share. In checkpoints/, last.pt is the newest, step-<number>.pt are the ones before it, and
best.pt is that of the highest validation top-1.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError
from tdn.files import write_atomically, write_text_atomically
from tdn.training.processes.launch import this_launch
from tdn.training.saving.checkpoint_file import REMEDY, Checkpoint, DamagedError, read_checkpoint

_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    checkpoint: Checkpoint


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
        root: The folder; it is made with the first file.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.yaml"
        self.log = self.root / "log.jsonl"
        self.tensorboard = self.root / "tensorboard"
        self.profile = self.root / "profile"
        self.wandb_run = self.root / "wandb-run.txt"
        self.checkpoints = self.root / "checkpoints"
        self.last = self.checkpoints / "last.pt"
        self.best = self.checkpoints / "best.pt"
        self.damaged = self.checkpoints / "damaged.pt"
        self.interrupted = self.root / "interrupted.json"
        self.launch = self.root / "launch.txt"

    def find_checkpoint(self, resume: str) -> Found | None:
        """The checkpoint that ``training.resume`` means, if any, verified.

        Args:
            resume: auto (this folder's newest that is not damaged), none, or a path.

        Raises:
            UserError: It cannot be read; with auto, not one of the folder's can.
        """
        if resume == "none":
            return None
        if resume == "auto":
            return self._newest()
        path = Path(resume)
        return Found(path, read_checkpoint(path))

    def begin(self, config_yaml: str, resumed_from: Path | None, step: int) -> None:
        """Write the configuration, and let the folder hold nothing of what is not this run's past.

        A run that starts anew or comes from another folder clears a former one away; one that goes
        back to an earlier checkpoint of this folder, the later ones.

        Args:
            config_yaml: What to write.
            resumed_from: The checkpoint it goes on from.
            step: How many steps that had finished.
        """
        if resumed_from is None or not self.holds(resumed_from):
            events = self.tensorboard.glob("events.*")
            former = (self.last, self.best, self.log, self.wandb_run, *self.earlier(), *events)
            for path in former:
                path.unlink(missing_ok=True)
        elif resumed_from.resolve() != self.last.resolve():
            self._go_back(resumed_from, step)
        self.interrupted.unlink(missing_ok=True)
        write_text_atomically(self.config, config_yaml, REMEDY)
        beginner = this_launch().beginner
        if beginner is not None:
            write_text_atomically(self.launch, beginner, REMEDY)

    def holds(self, checkpoint: Path) -> bool:
        """Whether a checkpoint is one of this folder's."""
        return checkpoint.resolve().parent == self.checkpoints.resolve()

    def has_begun(self) -> bool:
        """Whether this launch, or its job, has begun a run here, in this start or a former one."""
        name = this_launch().beginner
        return name is not None and self.launch.exists() and self.launch.read_text() == name

    def stopped_before(self) -> bool:
        """Whether this launch was asked to stop and has saved, before it was started again.

        torchrun starts all processes again when one alone was asked to, and has ended. Where it
        ends them itself, because a machine came or went, it does not count that as a restart.
        """
        if not self.interrupted.exists():
            return False
        note, launch = json.loads(self.interrupted.read_text()), this_launch()
        if note["step"] is None or launch.name is None:
            return False
        return note["launch"] == launch.name and note["restarts"] < launch.restarts

    def earlier(self) -> list[Path]:
        """The checkpoints before the last one, the newest first."""
        found = self.checkpoints.glob("step-*.pt")
        ours = [path for path in found if path.stem.removeprefix("step-").isdecimal()]
        return sorted(ours, key=_step_of, reverse=True)

    def earlier_path(self, step: int) -> Path:
        """Where the checkpoint after a step is kept when it is no longer the last one."""
        return self.checkpoints / f"step-{step}.pt"

    def mark_interrupted(self, step: int | None = None) -> None:
        """Leave a note that the run stopped on request and can be resumed.

        ``torchrun`` exits with 1 for many reasons; a script that decides whether to queue the job
        again looks for this file.

        Args:
            step: After which step; None if it did not come to one, or could not save it.
        """
        launch = this_launch()
        note = {
            "step": step,
            "checkpoint": str(self.last),
            "launch": launch.name,
            "restarts": launch.restarts,
        }
        write_text_atomically(self.interrupted, json.dumps(note) + "\n", REMEDY)

    def _newest(self) -> Found | None:
        """The newest checkpoint that can be read; one that cannot is named."""
        candidates = [path for path in (self.last, *self.earlier(), self.best) if path.exists()]
        problems: list[str] = []
        for path in candidates:
            try:
                found = Found(path, read_checkpoint(path))
            except DamagedError as error:
                problems.append(str(error).partition(";")[0])
                continue
            for problem in problems:
                _log.warning("%s; going on from %s instead", problem, path)
            return found
        if problems:
            others = f", and so are the {len(problems) - 1} others" if len(problems) > 1 else ""
            raise DamagedError(
                f"{problems[0]}{others}; restore one, or start over with training.resume none"
            )
        return None

    def _go_back(self, path: Path, step: int) -> None:
        """Make an earlier checkpoint the last one; a damaged last one is set aside."""
        if self.last.exists():
            try:
                read_checkpoint(self.last)
            except DamagedError:
                self.last.replace(self.damaged)
        with path.open("rb") as source:
            write_atomically(self.last, lambda file: shutil.copyfileobj(source, file), REMEDY)
        for other in self.earlier():
            if _step_of(other) >= step:
                other.unlink()


def _step_of(earlier: Path) -> int:
    return int(earlier.stem.removeprefix("step-"))
