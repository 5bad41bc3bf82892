"""How a training run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tdn.training.saving.run_folder import RunFolder
from tdn.training.state import RunState


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    completed: bool
    """Whether all epochs are done; if not, it was asked to stop and can be resumed."""
    step: int
    """Finished steps."""
    top1: float | None
    """Last validation, percent."""
    top5: float | None
    best_top1: float | None
    seconds: float
    """Duration of this session."""
    output: Path
    """The run folder."""
    last: Path
    """The checkpoint to resume from."""
    best: Path
    """The checkpoint with the highest validation top-1."""

    @classmethod
    def of(
        cls, state: RunState, step: int, completed: bool, seconds: float, folder: RunFolder
    ) -> TrainingResult:
        """The result of a run in a folder."""
        return cls(
            completed=completed,
            step=step,
            top1=state.top1,
            top5=state.top5,
            best_top1=state.best_top1,
            seconds=seconds,
            output=folder.root,
            last=folder.last,
            best=folder.best,
        )
