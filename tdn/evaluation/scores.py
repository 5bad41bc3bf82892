"""The scores of videos: what the network said of every view, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tdn.files import write_atomically
from tdn.training.metrics import label_ranks


@dataclass(frozen=True)
class Scores:
    """Scores of N videos."""

    indices: npt.NDArray[np.int64]
    """(N,): rows in the list, rising."""
    labels: npt.NDArray[np.int64]
    """(N,)."""
    logits: npt.NDArray[np.float32]
    """(N, views, classes): as the network gives them, no softmax."""

    @classmethod
    def of_views(
        cls,
        indices: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        views: npt.NDArray[np.int64],
        logits: npt.NDArray[np.float32],
        count: int,
    ) -> Scores:
        """The scores of videos whose views were scored one by one, in any order.

        A video of which a view is missing, because its file broke meanwhile, is left out.

        Args:
            indices: (clips,) row of each clip's video.
            labels: (clips,).
            views: (clips,) which of its video's views each clip is, from 0.
            logits: (clips, classes).
            count: Views per video.
        """
        order = np.lexsort((views, indices))
        _, first, found = np.unique(indices[order], return_index=True, return_counts=True)
        rows = order[(first[found == count, None] + np.arange(count)).reshape(-1)]
        lead = rows[::count]
        return cls(
            indices[lead], labels[lead], logits[rows].reshape(len(lead), count, logits.shape[1])
        )

    @classmethod
    def merged(cls, parts: Sequence[Scores]) -> Scores:
        """The scores of several processes as one, in the list's order."""
        indices = np.concatenate([part.indices for part in parts])
        order = np.argsort(indices)
        return cls(
            indices[order],
            np.concatenate([part.labels for part in parts])[order],
            np.concatenate([part.logits for part in parts])[order],
        )

    def accuracy(self) -> dict[str, float]:
        """top1 and top5 in percent, by the mean over views of softmax.

        With fewer than six classes top5 is 100.
        """
        # In double precision: small probabilities must not all become zero, which ties them.
        probabilities = torch.from_numpy(self.logits).double().softmax(-1).mean(1)
        ranks = label_ranks(probabilities, torch.from_numpy(self.labels))
        return {f"top{k}": 100 * (ranks < k).double().mean().item() for k in (1, 5)}

    def save(self, path: Path) -> None:
        """Write indices, labels and scores as a NumPy archive."""
        write_atomically(
            path,
            lambda file: np.savez(
                file, indices=self.indices, labels=self.labels, scores=self.logits
            ),
        )


def save_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics as JSON."""
    text = json.dumps(metrics, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
