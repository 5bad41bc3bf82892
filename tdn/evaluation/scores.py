"""The scores of videos: what the network said of every view, and what follows from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tdn.errors import UserError
from tdn.files import write_atomically, write_text_atomically
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
    videos: str = ""
    """Checksum of the list's videos, which tells lists apart; empty if it is not known."""

    @classmethod
    def of_views(
        cls,
        indices: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        views: npt.NDArray[np.int64],
        logits: npt.NDArray[np.float32],
        count: int,
        videos: str = "",
    ) -> Scores:
        """The scores of videos whose views were scored one by one, in any order.

        A video of which a view is missing, because its file broke meanwhile, is left out.

        Args:
            indices: (clips,) row of each clip's video.
            labels: (clips,).
            views: (clips,) which of its video's views each clip is, from 0.
            logits: (clips, classes).
            count: Views per video.
            videos: Checksum of the list's videos.
        """
        order = np.lexsort((views, indices))
        _, first, found = np.unique(indices[order], return_index=True, return_counts=True)
        rows = order[(first[found == count, None] + np.arange(count)).reshape(-1)]
        lead = rows[::count]
        scores = logits[rows].reshape(len(lead), count, logits.shape[1])
        return cls(indices[lead], labels[lead], scores, videos)

    def rows(self, places: npt.NDArray[np.int64]) -> Scores:
        """Those of some videos, by their places here."""
        return Scores(self.indices[places], self.labels[places], self.logits[places], self.videos)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read what ``save`` wrote.

        Raises:
            UserError: The file is missing or holds something else.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the scores.npz of an evaluation")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = [np.asarray(archive[name]) for name in ("indices", "labels", "scores")]
                videos = str(archive["videos"]) if "videos" in archive else ""
        except Exception:  # whatever the readers of two formats make of foreign bytes
            arrays = []
        if not arrays or not _are_scores(*arrays):
            raise UserError(f"{path}: holds no scores; give the scores.npz of an evaluation")
        indices, labels, logits = arrays
        return cls(
            indices.astype(np.int64), labels.astype(np.int64), logits.astype(np.float32), videos
        )

    def probabilities(self) -> npt.NDArray[np.float64]:
        """(N, classes): the mean over views of softmax.

        In double precision: small probabilities must not all become zero, which ties them.
        """
        softmax = torch.from_numpy(self.logits).double().softmax(-1)
        probabilities: npt.NDArray[np.float64] = softmax.mean(1).numpy()
        return probabilities

    def accuracy(self) -> dict[str, float]:
        """top1 and top5 in percent, by the mean over views of softmax."""
        return accuracy(self.probabilities(), self.labels)

    def save(self, path: Path) -> None:
        """Write indices, labels and scores as a NumPy archive."""
        write_atomically(
            path,
            lambda file: np.savez(
                file,
                indices=self.indices,
                labels=self.labels,
                scores=self.logits,
                videos=self.videos,
            ),
        )


def accuracy(values: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """top1 and top5 in percent; with fewer than six classes top5 is 100.

    Args:
        values: (N, classes), the higher the likelier.
        labels: (N,).
    """
    ranks = label_ranks(torch.from_numpy(values), torch.from_numpy(labels))
    return {f"top{k}": 100 * (ranks < k).double().mean().item() for k in (1, 5)}


def _are_scores(
    indices: npt.NDArray[Any], labels: npt.NDArray[Any], logits: npt.NDArray[Any]
) -> bool:
    """Whether arrays of a foreign file can be scores."""
    kinds = (indices.dtype.kind, labels.dtype.kind, logits.dtype.kind)
    if kinds != ("i", "i", "f") or logits.ndim != 3 or 0 in logits.shape:
        return False
    count, _, classes = logits.shape
    if indices.shape != (count,) or labels.shape != (count,):
        return False
    rising = bool((np.diff(indices) > 0).all()) and indices[0] >= 0
    return rising and bool(((labels >= 0) & (labels < classes)).all())


def save_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics as JSON."""
    text = json.dumps(metrics, indent=2) + "\n"
    write_text_atomically(path, text)
