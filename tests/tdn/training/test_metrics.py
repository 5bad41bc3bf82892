from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F

from tdn.training.metrics import Summary, Tally, label_ranks
from tdn.training.processes.distributed import Processes

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
def batches(draw, classes):
    count = draw(st.integers(1, 12))
    # Few different values: ties are the hard part.
    values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]) | st.floats(-5, 5, width=32)
    scores = draw(hnp.arrays(np.float32, (count, classes), elements=values))
    labels = draw(hnp.arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    return scores, labels


@given(st.integers(1, 9).flatmap(lambda n: st.lists(batches(n), min_size=1, max_size=4)))
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


@pytest.mark.parametrize("looks", [1, 7, 100])
def test_sums_are_the_same_bits_whenever_somebody_looks(looks):
    """As when a run is interrupted: the losses are of all magnitudes, some batches do not count."""
    generator = torch.Generator().manual_seed(0)
    tally = Tally(CPU)
    clips = loss = top1 = 0.0
    for number in range(75):
        size = 1 + number % 3
        mean = 10.0 ** (number % 17 - 8) * torch.rand((), generator=generator)
        counts = torch.tensor(number % 5 > 0)
        scores = torch.rand((size, 6), generator=generator)
        labels = torch.randint(6, (size,), generator=generator)
        nan = torch.tensor(float("nan"))
        tally.add(mean if counts else nan, scores, labels, counts)
        if counts:
            clips, loss = clips + size, loss + size * mean.item()
            top1 += (scores.argmax(1) == labels).sum().item()
        if number % looks == 0:
            copy = Tally(CPU)
            copy.restore([tally.unread()], ALONE)
            tally = copy
    assert tally.unread()[:3] == [clips, loss, top1]


@given(st.integers(1, 9).flatmap(batches))
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
    tally.add(torch.tensor(4.0), torch.eye(3), torch.arange(3))
    assert tally.read(ALONE) == Summary(3, 4.0, 100.0, 100.0)


def test_batches_are_not_held_for_long():
    tally, gone = Tally(CPU), []
    for _ in range(100):
        scores = torch.eye(4)
        weakref.finalize(scores, gone.append, None)
        tally.add(torch.tensor(1.0), scores, torch.arange(4))
    del scores
    assert len(gone) > 50


def test_half_precision_logits_are_counted():
    tally = Tally(CPU)
    tally.add(torch.tensor(1.0), torch.eye(4, dtype=torch.bfloat16), torch.arange(4))
    assert tally.read(ALONE).top1 == 100
