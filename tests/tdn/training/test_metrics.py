from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F

from tdn.training.distributed import Processes
from tdn.training.metrics import Tally, label_ranks

CPU = torch.device("cpu")
ALONE = Processes(rank=0, world_size=1, device=CPU)


def slow_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> int:
    """Sort every row by falling score, equal ones by class, and look for the label."""
    hits = 0
    for row, label in zip(scores, labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        hits += label in order[:k]
    return hits


@st.composite
def batches(draw):
    count, classes = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    # Few different values: ties are the hard part.
    values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]) | st.floats(-5, 5, width=32)
    scores = draw(hnp.arrays(np.float32, (count, classes), elements=values))
    labels = draw(hnp.arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    return scores, labels


@given(st.lists(batches(), min_size=1, max_size=4))
def test_sums_over_batches_agree_with_a_slow_count(parts):
    tally = Tally(CPU)
    losses = []
    for scores, labels in parts:
        logits, targets = torch.from_numpy(scores), torch.from_numpy(labels)
        losses += F.cross_entropy(logits, targets, reduction="none").tolist()
        tally.add(F.cross_entropy(logits, targets), logits, targets)
    summary = tally.read(ALONE)
    count = sum(len(labels) for _, labels in parts)
    assert summary.clips == count
    assert summary.top1 == pytest.approx(100 * sum(slow_hits(*part, 1) for part in parts) / count)
    assert summary.top5 == pytest.approx(100 * sum(slow_hits(*part, 5) for part in parts) / count)
    assert summary.loss == pytest.approx(np.mean(losses), rel=1e-4, abs=1e-5)


@given(batches())
def test_rank_zero_is_argmax(batch):
    scores, labels = batch
    ranks = label_ranks(torch.from_numpy(scores), torch.from_numpy(labels))
    assert ((ranks == 0).numpy() == (scores.argmax(1) == labels)).all()


def test_nans_are_never_right():
    nan = float("nan")
    scores = torch.tensor([[nan, nan, nan], [nan, 1.0, 0.0], [nan, 1.0, 2.0]])
    ranks = label_ranks(scores, torch.tensor([0, 0, 2]))
    assert (ranks > 0).all()


def test_reading_begins_anew():
    tally = Tally(CPU)
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    tally.add(torch.tensor(2.0), logits, labels)
    first = tally.read(ALONE)
    assert (first.clips, first.loss) == (3, 2.0)
    assert first.top1 == pytest.approx(200 / 3)
    assert tally.read(ALONE).clips == 0


def test_half_precision_logits_are_counted():
    tally = Tally(CPU)
    tally.add(torch.tensor(1.0), torch.eye(4, dtype=torch.bfloat16), torch.arange(4))
    assert tally.read(ALONE).top1 == 100
