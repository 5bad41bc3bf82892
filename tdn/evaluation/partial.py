"""Scores that an interrupted evaluation has left, so that the next one goes on there.

Each process writes what it has scored now and then, to files of its own. Any number of processes
may go on: videos that are complete in any of these files are not scored again.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from tdn.errors import UserError
from tdn.evaluation.scores import Scores

EVERY = 60.0
"""Seconds between two files of a process."""


class PartialScores:
    """What has been scored so far of one test.

    Args:
        output: The test's folder.
        key: Tells apart tests whose scores differ: other weights, data or views.
        rank: This process.
    """

    def __init__(self, output: Path, key: str, rank: int) -> None:
        self._folder = output / "partial" / key
        self._rank = rank
        self._written_at = time.monotonic()

    def read(self) -> Scores | None:
        """What any process has written before, without repetitions; None if nothing."""
        found = []
        for path in sorted(self._folder.glob("*.npz")):
            try:
                found.append(Scores.load(path))
            except UserError:  # damaged: scored again
                continue
        if not found:
            return None
        together = Scores.merged(found)
        _, first = np.unique(together.indices, return_index=True)
        return together.rows(first)

    def is_due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written_at >= EVERY

    def write(self, scores: Scores | None) -> None:
        """Keep what this process has scored since the last time.

        Raises:
            UserError: The folder cannot be written.
        """
        self._written_at = time.monotonic()
        if scores is not None and len(scores.indices):
            scores.save(
                self._folder / f"{self._rank}-{scores.indices[0]}-{len(scores.indices)}.npz"
            )

    def remove(self) -> None:
        """Forget all, of other tests in this folder too: the whole result is there."""
        shutil.rmtree(self._folder.parent, ignore_errors=True)
