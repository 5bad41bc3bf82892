from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.preflight.slow import find_culprits, rounds, usual


@settings(max_examples=40)
@given(st.integers(1, 130))
def test_every_node_is_measured_in_few_rounds(nodes):
    found = rounds(nodes)
    assert len(found) <= 6
    for together in found:
        busy = [node for pair in together for node in pair]
        assert len(busy) == len(set(busy))
    pairs = [pair for together in found for pair in together]
    assert len(pairs) == len(set(pairs))
    for node in range(nodes):
        partners = sum(node in pair for pair in pairs)
        assert partners == min(nodes - 1, 4 if nodes > 4 else 2)


@settings(max_examples=30)
@given(st.integers(3, 40), st.data())
def test_a_slow_node_is_named_and_no_other(nodes, data):
    slow = data.draw(st.integers(0, nodes - 1))
    noise = st.floats(0.8, 1.2)
    measured = {
        pair: (1e9 if slow in pair else 1e10) * data.draw(noise)
        for together in rounds(nodes)
        for pair in together
    }
    culprits = find_culprits(measured, 0.5)
    assert (culprits.nodes, culprits.links) == ((slow,), ())
    assert culprits.usual == pytest.approx(1e10, rel=0.2)


@settings(max_examples=30)
@given(st.integers(4, 40), st.data())
def test_a_slow_link_is_no_slow_node(nodes, data):
    pairs = [pair for together in rounds(nodes) for pair in together]
    slow = data.draw(st.sampled_from(pairs))
    culprits = find_culprits({pair: 1.0 if pair == slow else 10.0 for pair in pairs}, 0.5)
    assert (culprits.nodes, culprits.links) == ((), (slow,))


@settings(max_examples=30)
@given(st.integers(8, 40), st.data())
def test_two_slow_nodes_are_both_named(nodes, data):
    slow = data.draw(st.sets(st.integers(0, nodes - 1), min_size=2, max_size=2))
    pairs = [pair for together in rounds(nodes) for pair in together]
    measured = {pair: 1.0 if slow & set(pair) else 10.0 for pair in pairs}
    assert find_culprits(measured, 0.5).nodes == tuple(sorted(slow))


def test_of_two_nodes_neither_is_blamed():
    assert find_culprits({(0, 1): 5.0}, 0.5)[:2] == ((), ())


def test_nodes_of_different_speeds_are_usual():
    assert find_culprits({(0, 1): 8.0, (1, 2): 9.0, (0, 2): 10.0}, 0.5)[:2] == ((), ())
    assert usual([1.0, 9.0, 10.0, 11.0]) == 10.5
