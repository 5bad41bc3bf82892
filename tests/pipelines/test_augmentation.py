from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.augmentation import (
    crop_offsets,
    crop_sizes,
    mirrored,
    training_crop,
    validation_crop,
)

SCALES = [1.0, 0.875, 0.75, 0.66]
PATH = Path(__file__).parents[1] / "data/sampling/crops-320x240.json"
OPEN_CASE = json.loads(PATH.read_text())["train_crops_320x240"]

sides = st.integers(8, 700)
sizes = st.tuples(sides, sides)
targets = st.tuples(st.integers(32, 256), st.integers(32, 256))


def test_crop_sizes_agree_with_the_released_code():
    found = [[w, h] for h, w in crop_sizes((240, 320), (224, 224), SCALES)]
    assert found == OPEN_CASE["pairs_wh_in_order"]


def test_offsets_agree_with_the_released_code():
    for name, offsets in OPEN_CASE["offsets"].items():
        width, height = (int(side) for side in name.split("x"))
        assert [[x, y] for y, x in crop_offsets((240, 320), (height, width))] == offsets


def test_a_side_within_two_pixels_of_the_target_is_the_target():
    assert crop_sizes((226, 400), (224, 224), [1.0]) == [(224, 224)]
    assert crop_sizes((227, 400), (224, 224), [1.0]) == [(227, 227)]
    assert crop_sizes((223, 400), (224, 224), [1.0]) == [(223, 224)]  # there are no 224 rows


@given(sizes, targets, st.integers(0, 2**32))
def test_training_crops_lie_in_the_frame(frame, target, seed):
    crop = training_crop(frame, target, SCALES, np.random.default_rng(seed))
    y, x, height, width = crop.window
    assert 0 <= y <= y + height <= frame[0]
    assert 0 <= x <= x + width <= frame[1]
    assert min(height, width) >= 1
    assert crop.region == (0, 0, height, width)


@given(sizes, targets, st.integers(32, 300))
def test_validation_crops_lie_in_their_window_and_keep_the_scale(frame, target, short_side):
    crop = validation_crop(frame, target, short_side)
    y, x, height, width = crop.window
    assert 0 <= y < y + height <= frame[0]
    assert 0 <= x < x + width <= frame[1]
    y0, x0, y1, x1 = crop.region
    assert -1e-6 <= y0 < y1 <= height + 1e-6
    assert -1e-6 <= x0 < x1 <= width + 1e-6


@given(sizes, st.integers(32, 256))
def test_validation_crop_is_the_centre_of_the_resized_frame(frame, target):
    short_side = target + 32
    crop = validation_crop(frame, (target, target), short_side)
    rows, columns = frame
    if rows <= columns:
        resized = short_side, int(short_side * columns / rows)
    else:
        resized = int(short_side * rows / columns), short_side
    for axis in range(2):
        step = frame[axis] / resized[axis]
        start = crop.window[axis] + crop.region[axis]
        assert np.isclose(start / step, round((resized[axis] - target) / 2), atol=1e-3)
        assert np.isclose((crop.region[axis + 2] - crop.region[axis]) / step, target, atol=1e-3)


@given(sizes, targets)
def test_mirroring_twice_is_nothing(frame, target):
    crop = validation_crop(frame, target, 64)
    assert mirrored(crop) != crop
    assert mirrored(mirrored(crop)) == crop
