"""What is predicted of videos: probabilities of the classes, whole and by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.errors import UserError

Probabilities = npt.NDArray[np.float64]
"""(classes,), with the sum 1."""


class Guess(NamedTuple):
    """A class, and how probable it is."""

    label: int
    name: str
    probability: float
    """0 to 1."""


@dataclass(frozen=True)
class WindowPrediction:
    """What is predicted of a part of a video."""

    start: float
    """Seconds from the video's first frame."""
    end: float
    first_frame: int
    """From 0."""
    frames: int
    probabilities: Probabilities


@dataclass(frozen=True)
class VideoPrediction:
    """What is predicted of a video."""

    path: str
    classes: tuple[str, ...]
    """Names of the labels 0, 1, ..."""
    windows: tuple[WindowPrediction, ...] = ()
    """The parts that were predicted, one after the other; a single one for the whole video."""
    problem: str = ""
    """Why nothing is predicted, in a few words; empty where something is."""

    @property
    def probabilities(self) -> Probabilities:
        """Of the whole video: the mean over its windows.

        Raises:
            UserError: Nothing is predicted.
        """
        self._check()
        return np.mean([window.probabilities for window in self.windows], axis=0)

    @property
    def seconds(self) -> float:
        """Duration.

        Raises:
            UserError: Nothing is predicted.
        """
        self._check()
        return self.windows[-1].end

    def _check(self) -> None:
        if self.problem:
            raise UserError(f"{self.path}: {self.problem}")

    def top(self, count: int = 5, of: Probabilities | None = None) -> list[Guess]:
        """The most probable classes; none where nothing is predicted.

        Args:
            count: How many, at most.
            of: A window's probabilities; by default the whole video's.
        """
        if self.problem:
            return []
        probabilities = self.probabilities if of is None else of
        best = np.argsort(-probabilities, kind="stable")[:count].tolist()
        return [Guess(label, self.classes[label], float(probabilities[label])) for label in best]

    def as_dict(self, count: int = 5) -> dict[str, Any]:
        """As plain values, for JSON: the most probable classes, whole and by window."""
        if self.problem:
            return {"video": self.path, "problem": self.problem}
        return {
            "video": self.path,
            "seconds": round(self.seconds, 3),
            "predictions": _plain(self.top(count)),
            "windows": [
                {
                    "start": round(window.start, 3),
                    "end": round(window.end, 3),
                    "first_frame": window.first_frame,
                    "frames": window.frames,
                    "predictions": _plain(self.top(count, window.probabilities)),
                }
                for window in self.windows
            ],
        }


def _plain(guesses: Sequence[Guess]) -> list[dict[str, Any]]:
    return [guess._asdict() for guess in guesses]
