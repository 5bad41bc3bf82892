from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.evaluation.certainty import interval, percent


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_what_was_seen_and_shrinks(counts):
    right, count = counts
    low, high = interval(right, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1
    narrower = interval(4 * right, 4 * count)
    assert narrower[1] - narrower[0] < high - low


def test_wilson_s_interval():
    """Newcombe 1998, table I: 81 of 263."""
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "told"), [(2, "67 %"), (99, "67 %"), (100, "66.7 %"), (24_777, "66.67 %")]
)
def test_few_videos_give_no_decimals(count, told):
    assert percent(200 / 3, count) == told
