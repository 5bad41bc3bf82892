"""Within-pair accuracy: can a network tell apart two classes that share their single frames?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt


def read_pairs(classes: Path) -> npt.NDArray[np.int64]:
    """The partner of every label, from the demo data set's ``classes.json``: (classes,)."""
    entries = json.loads(classes.read_text(encoding="utf-8"))
    partners = np.empty(len(entries), np.int64)
    for entry in entries:
        partners[entry["label"]] = entry["pair"]
    return partners


def within_pair_accuracy(
    scores: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]
) -> float:
    """Share of clips whose own class scores higher than its partner, in percent.

    50 is chance, whatever the network knows about the other classes. A tie counts as half.

    Args:
        scores: (clips, classes) logits or probabilities.
        labels: (clips,) true labels.
        pairs: (classes,) the partner of every label.
    """
    clips = np.arange(len(labels))
    margin = scores[clips, labels] - scores[clips, pairs[labels]]
    return float(100 * np.mean((margin > 0) + 0.5 * (margin == 0)))
