"""What a run came to, and how to go on, in a few lines."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdn.evaluation.scores import Scores

_Z = 1.96
"""Standard deviations of a 95 % interval."""
_LONGER = 3
"""Times the minutes, for a longer training."""


def summary(
    root: Path, files: Sequence[tuple[Path, str]], again: Sequence[str], minutes: float
) -> str:
    """The last lines that a user sees.

    Args:
        root: The run folder, after its evaluation.
        files: What there is to look at, and what it is.
        again: The command that made the run.
        minutes: That the training was given.
    """
    metrics = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    labels = Scores.load(root / "scores.npz").labels
    width = max(len(str(path)) for path, _ in files)
    longer = math.ceil(_LONGER * minutes)
    lines = [
        _accuracy(metrics, labels),
        *(f"  {path!s:{width}}  {what}" for path, what in files),
        "Go on with",
        f"  tdn predict NEW_VIDEO --checkpoint {quoted(root / 'checkpoints' / 'last.pt')}",
        f"  python -m webbrowser {quoted((root / 'report.html').absolute())}",
        f"  {shlex.join([*again, '--minutes', str(longer)])}",
    ]
    return "\n".join(lines)


def _accuracy(metrics: dict[str, Any], labels: np.ndarray) -> str:
    """The accuracy, how sure it is, and what guessing would reach."""
    count, top1 = len(labels), metrics["top1"]
    low, high = (100 * bound for bound in interval(round(top1 / 100 * count), count))
    counts = np.bincount(labels)
    names = metrics.get("class_names") or [str(label) for label in range(len(counts))]
    most = int(counts.argmax())
    chance = 100 * counts[most] / count
    verdict = "" if low > chance else ": not surely better than that"
    return (
        f"\nOf {count} validation videos {top1:.1f} % are right (of more such videos, between "
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


def quoted(path: Path) -> str:
    """A path as a shell reads it."""
    return shlex.quote(str(path))
