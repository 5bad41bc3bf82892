"""How sure an accuracy is, and what guessing would reach."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_Z = 1.96
"""Standard deviations of a 95 % interval."""


def accuracy_in_words(metrics: dict[str, Any], labels: npt.NDArray[np.int64]) -> str:
    """A sentence that tells top-1 accuracy, how sure it is, and what guessing would reach.

    Args:
        metrics: Of an evaluation, as in metrics.json.
        labels: (N,) of its videos.
    """
    count, top1 = len(labels), metrics["top1"]
    low, high = (100 * bound for bound in interval(round(top1 / 100 * count), count))
    counts = np.bincount(labels)
    names = metrics.get("class_names") or [str(label) for label in range(len(counts))]
    most = int(counts.argmax())
    chance = 100 * counts[most] / count
    verdict = "" if low > chance else ": not surely better than that"
    return (
        f"Of {count} validation videos {top1:.1f} % are right (of more such videos, between "
        f"{low:.0f} and {high:.0f} %); always saying '{names[most]}' would give {chance:.1f} %"
        f"{verdict}."
    )


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of which ``right`` of ``count`` were seen."""
    share, square = right / count, _Z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = (
        _Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def percent(share: float, count: int) -> str:
    """A share in percent, with no more decimals than as many videos give."""
    decimals = 0 if count < 100 else 1 if count < 1000 else 2
    return f"{share:.{decimals}f} %"
