from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.sampling.order import epoch_order, shard_order

words = st.integers(0, 2**40)


@given(st.integers(1, 500), words, words)
def test_an_order_is_a_permutation(count, seed, epoch):
    assert sorted(epoch_order(count, seed, epoch)) == list(range(count))


def test_orders_of_epochs_and_seeds_differ():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    orders |= {tuple(order_of([10] * 5, 2, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 32


def order_of(sizes: list[int], together: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return shard_order(np.cumsum([0, *sizes]), together, seed, epoch)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 25), words, words)
def test_shards_are_read_a_few_at_a_time(sizes, together, seed, epoch):
    order = order_of(sizes, together, seed, epoch)
    assert sorted(order) == list(range(sum(sizes)))
    shard_of = np.repeat(np.arange(len(sizes)), sizes)[order]
    where = [np.flatnonzero(shard_of == shard) for shard in range(len(sizes)) if sizes[shard]]
    for position in range(len(order)):
        begun = sum(places[0] <= position for places in where)
        done = sum(places[-1] < position for places in where)
        assert begun - done <= together


def test_clips_of_the_shards_read_together_are_mixed():
    order = order_of([100] * 4, 4)
    quarters = [set(order[start : start + 100] // 100) for start in range(0, 400, 100)]
    assert all(len(quarter) == 4 for quarter in quarters)
