from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.sampling.randomness import Purpose, generator

words = st.integers(0, 2**40)


@given(words, words, words)
def test_a_stream_is_a_pure_function_of_its_integers(seed, epoch, position):
    first = generator(seed, epoch, position, Purpose.CLIP).integers(2**60, size=4)
    generator(seed, epoch, position + 1, Purpose.CLIP).integers(2**60, size=4)
    assert np.array_equal(
        first, generator(seed, epoch, position, Purpose.CLIP).integers(2**60, size=4)
    )


def test_streams_of_different_integers_differ():
    names = [
        (s, e, p, purpose)
        for s in range(3)
        for e in range(3)
        for p in range(3)
        for purpose in Purpose
    ]
    draws = {tuple(generator(*name).integers(2**60, size=4)) for name in names}
    assert len(draws) == len(names)
