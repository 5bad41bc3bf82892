"""The table of classes: pairs, mirror images, labels."""

from __future__ import annotations

import pytest

from tdn.pipelines.demo_data.classes import CLASS_COUNTS, flip_labels, motion_classes


@pytest.mark.parametrize("count", CLASS_COUNTS)
def test_pairs_and_mirrors_are_involutions(count):
    classes = motion_classes(count)
    assert [each.label for each in classes] == list(range(count))
    assert len({each.name for each in classes}) == count
    for each in classes:
        pair, mirror = classes[each.pair], classes[each.mirror]
        assert pair.pair == each.label
        assert pair.motion == each.motion
        assert pair.backwards != each.backwards
        assert mirror.mirror == each.label
        assert mirror.label in (each.label, each.pair)


def test_sixteen_classes_extend_the_twelve():
    assert motion_classes(16)[:12] == motion_classes(12)


def test_a_flip_swaps_left_with_right_and_the_directions_of_turning():
    names = {each.name: each for each in motion_classes(16)}
    swapped = (
        ("moving left", "moving right"),
        ("rotating clockwise", "rotating counterclockwise"),
        ("orbiting clockwise", "orbiting counterclockwise"),
        ("camera panning left", "camera panning right"),
    )
    expected = {}
    for one, other in swapped:
        expected |= {names[one].label: names[other].label, names[other].label: names[one].label}
    assert flip_labels(motion_classes(16)) == expected
