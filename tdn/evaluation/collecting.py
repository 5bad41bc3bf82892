"""What the network says of views, while it runs and between two tries of a test.

A test's views stand in one order and are divided into batches in one way, whatever the number of
processes: each takes some of the batches. So every score is the same, to the bit, on any number of
processes, and also if a test was interrupted, as batches are done or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdn.files import write_atomically

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


class ScoredViews(NamedTuple):
    """M views that have been scored."""

    batches: npt.NDArray[np.int64]
    """(M,) number of each one's batch among those of the whole test."""
    indices: npt.NDArray[np.int64]
    """(M,) row of each one's video in the list."""
    labels: npt.NDArray[np.int64]
    """(M,)."""
    views: npt.NDArray[np.int64]
    """(M,) which of its video's views it is, from 0."""
    logits: npt.NDArray[np.float32]
    """(M, classes)."""

    @classmethod
    def joined(cls, parts: Sequence[ScoredViews]) -> ScoredViews:
        """Several as one; a batch that occurs again is taken once."""
        seen: set[int] = set()
        kept = []
        for part in parts:
            new = ~np.isin(part.batches, list(seen))
            kept.append([column[new] for column in part])
            seen.update(part.batches.tolist())
        columns: list[Any] = [np.concatenate(column) for column in zip(*kept, strict=True)]
        return cls(*columns)

    def save(self, path: Path) -> None:
        """Write them as a NumPy archive."""
        columns: dict[str, Any] = self._asdict()
        write_atomically(path, lambda file: np.savez(file, **columns))

    @classmethod
    def load(cls, path: Path) -> ScoredViews | None:
        """What ``save`` wrote; None if the file is damaged."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = [np.asarray(archive[name]) for name in cls._fields]
        except Exception:  # whatever the readers of two formats make of damaged bytes
            return None
        return cls(*columns) if len({len(column) for column in columns}) == 1 else None


class Collector:
    """Collects batches until somebody takes them.

    Logits stay on the device until then, as copying them would wait for it.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []

    def add(self, number: int, batch: Batch, logits: Tensor) -> None:
        """Take a batch; ``number``: its among those of the whole test."""
        numbers = torch.full_like(batch.indices, number)
        self._pending.append((numbers, batch.indices, batch.labels, batch.views, logits))

    def take(self) -> ScoredViews | None:
        """What came since the last time; None if nothing did."""
        if not self._pending:
            return None
        columns = [torch.cat(column).cpu().numpy() for column in zip(*self._pending, strict=True)]
        self._pending = []
        return ScoredViews(*columns)
