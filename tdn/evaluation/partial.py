"""What an interrupted evaluation has left, so that the next one goes on there.

Each process writes what it has scored now and then, to files of its own. Any number of processes
may go on: batches that are in any of these files are not scored again.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tdn.evaluation.collecting import ScoredViews

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

    def read(self) -> ScoredViews | None:
        """What any process has written before; None if nothing. Damaged files do not count."""
        found = [ScoredViews.load(path) for path in sorted(self._folder.glob("*.npz"))]
        whole = [part for part in found if part is not None]
        return ScoredViews.joined(whole) if whole else None

    def is_due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written_at >= EVERY

    def write(self, views: ScoredViews | None) -> None:
        """Keep what this process has scored since the last time.

        Raises:
            UserError: The folder cannot be written.
        """
        self._written_at = time.monotonic()
        if views is not None:
            first, count = views.batches[0], len(set(views.batches.tolist()))
            views.save(self._folder / f"{self._rank}-{first}-{count}.npz")

    def remove(self) -> None:
        """Forget all, of other tests in this folder too: the whole result is there."""
        shutil.rmtree(self._folder.parent, ignore_errors=True)
