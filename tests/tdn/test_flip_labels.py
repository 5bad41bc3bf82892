from __future__ import annotations

import pytest

from tdn.flip_labels import FLIP_MAPS, flip_map


def test_something_something_swaps_what_the_released_code_swaps():
    swaps = flip_map("something-something")
    assert {(a, b) for a, b in swaps.items() if a < b} == {(86, 87), (93, 94), (166, 167)}


@pytest.mark.parametrize("name", FLIP_MAPS)
def test_mirrored_twice_a_class_is_itself(name):
    swaps = flip_map(name)
    assert all(swaps[swaps[label]] == label for label in swaps)


def test_a_map_is_taken_as_it_is():
    assert flip_map({3: 4}) == {3: 4}
