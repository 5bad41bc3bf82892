"""Accuracy class by class, and which classes are taken for which."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tdn.evaluation.scores import Scores
from tdn.files import write_text_atomically
from tdn.training.metrics import TOP5_FROM, label_ranks


@dataclass(frozen=True)
class ByClass:
    """Results of C classes.

    Attributes:
        names: (C,) what the classes are called; their numbers where nothing names them.
        confusion: (C, C) videos by their class (rows) and the predicted one (columns).
        top5: (C,) of these, videos whose class is among the five most probable.
    """

    names: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    top5: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scores: Scores, names: Sequence[str] = ()) -> ByClass:
        """Count a test's scores."""
        values, labels = torch.from_numpy(scores.probabilities()), torch.from_numpy(scores.labels)
        count = values.shape[1]
        confusion = np.zeros((count, count), np.int64)
        # As label_ranks decides between equal scores: the class with the smaller number.
        np.add.at(confusion, (scores.labels, values.argmax(1).numpy()), 1)
        top5 = np.zeros(count, np.int64)
        np.add.at(top5, scores.labels, (label_ranks(values, labels) < 5).numpy())
        return cls(tuple(names) or tuple(map(str, range(count))), confusion, top5)

    @property
    def videos(self) -> npt.NDArray[np.int64]:
        """(C,) videos of each class."""
        counts: npt.NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """(C,) top-1 of each class in percent; NaN of classes without videos."""
        return _percent(np.diag(self.confusion), self.videos)

    @property
    def mean_accuracy(self) -> float:
        """Mean class accuracy in percent, over the classes that have videos."""
        return float(np.nanmean(self.accuracy))

    def hardest(self, count: int) -> list[int]:
        """Classes with the lowest accuracy, the lowest first; those without videos are left out."""
        order = np.argsort(self.accuracy, kind="stable")  # NaNs come last
        return [int(label) for label in order if self.videos[label]][:count]

    def confused_with(self, label: int) -> int | None:
        """The class that a class's videos are most often taken for by mistake, if they are."""
        mistakes = self.confusion[label].copy()
        mistakes[label] = 0
        return int(mistakes.argmax()) if mistakes.any() else None

    def save_table(self, path: Path) -> None:
        """Write a line for each class as CSV: label, class, videos, top-1 in percent, top-5 in
        percent (of six classes or more), the class it is most often taken for, and how many videos
        that are.
        """
        top5 = _percent(self.top5, self.videos)
        rows: list[list[Any]] = [
            ["label", "class", "videos", "top1", "top5", "taken_for", "taken_for_videos"]
        ]
        for label, name in enumerate(self.names):
            other = self.confused_with(label)
            mistaken = (
                ["", 0] if other is None else [self.names[other], self.confusion[label, other]]
            )
            shares = [f"{self.accuracy[label]:.2f}", f"{top5[label]:.2f}"]
            shares[1] = shares[1] if len(self.names) >= TOP5_FROM else ""
            shares = shares if self.videos[label] else ["", ""]
            rows.append([label, name, self.videos[label], *shares, *mistaken])
        _write(path, rows)

    def save_confusion(self, path: Path) -> None:
        """Write the confusion matrix as CSV: a row for each class, a column for each predicted."""
        head = ["class", *self.names]
        lines = zip(self.names, self.confusion.tolist(), strict=True)
        _write(path, [head, *([name, *counts] for name, counts in lines)])


def _percent(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    shares = np.full(len(whole), np.nan)
    np.divide(100.0 * part, whole, out=shares, where=whole > 0)
    return shares


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text_atomically(path, text.getvalue())
