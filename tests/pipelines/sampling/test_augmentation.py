from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.sampling.augmentation import (
    Crop,
    Size,
    crop_offsets,
    crop_sizes,
    mirrored,
    protocol_crops,
    training_crop,
    validation_crop,
)

SCALES = [1.0, 0.875, 0.75, 0.66]
PATH = Path(__file__).parents[2] / "data/sampling/crops-320x240.json"
OPEN_CASE = json.loads(PATH.read_text())["train_crops_320x240"]
COUNTS = st.sampled_from([1, 3, 5, 10])

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


def offset_of(crop: Crop, frame: Size, resized: Size) -> tuple[float, float]:
    """Where a crop lies in the resized frame: y, x."""
    y0, x0, y1, x1 = crop.region
    near = crop.window[0] + min(y0, y1), crop.window[1] + min(x0, x1)
    return near[0] * resized[0] / frame[0], near[1] * resized[1] / frame[1]


def extent(crop: Crop) -> tuple[float, float]:
    """Its region's height and width in the frame."""
    y0, x0, y1, x1 = crop.region
    return y1 - y0, abs(x1 - x0)


@given(st.integers(8, 700), st.integers(8, 700), st.sampled_from([64, 128, 256]))
def test_three_crops_are_the_released_codes(short, long, side):
    """Short side and crops of one length; left, right, centre, in steps of whole pixels."""
    short, long = sorted((short, long))
    resized = int(side * long / short) if short != long else side
    step = (resized - side) // 4
    for frame in ((short, long), (long, short)):
        wide = frame[1] >= frame[0]
        size = (side, resized) if wide else (resized, side)
        crops = protocol_crops(frame, (side, side), side, 3)
        for crop, along in zip(crops, (0, 4 * step, 2 * step), strict=True):
            expected = (0, along) if wide else (along, 0)  # the released code's are all the same
            np.testing.assert_allclose(offset_of(crop, frame, size), expected, atol=1e-3)
            scaled = np.array(extent(crop)) * size / frame
            np.testing.assert_allclose(scaled, (side, side), atol=1e-3)


def test_five_crops_are_the_released_codes():
    """At the frame's own size the offsets are those of its training crops: corners, then centre."""
    crops = protocol_crops((240, 320), (224, 224), 240, 5)
    found = [offset_of(crop, (240, 320), (240, 320)) for crop in crops]
    assert [[round(x), round(y)] for y, x in found] == OPEN_CASE["offsets5_224"]


@given(sizes, targets, st.integers(32, 300))
def test_ten_crops_are_five_and_their_mirror_images(frame, target, short_side):
    ten = protocol_crops(frame, target, short_side, 10)
    assert ten[:5] == protocol_crops(frame, target, short_side, 5)
    assert ten[5:] == [mirrored(crop) for crop in ten[:5]]


@given(sizes, targets, st.integers(32, 300))
def test_one_crop_is_validations(frame, target, short_side):
    assert protocol_crops(frame, target, short_side, 1) == [
        validation_crop(frame, target, short_side)
    ]


@given(sizes, targets, st.integers(32, 300), COUNTS)
def test_crops_of_a_protocol_lie_in_the_frame_and_keep_one_scale(frame, target, short_side, count):
    crops = protocol_crops(frame, target, short_side, count)
    assert len(crops) == count
    for crop in crops:
        y, x, height, width = crop.window
        assert 0 <= y < y + height <= frame[0]
        assert 0 <= x < x + width <= frame[1]
        y0, x0, y1, x1 = crop.region
        assert -1e-6 <= y0 < y1 <= height + 1e-6
        assert -1e-6 <= min(x0, x1) < max(x0, x1) <= width + 1e-6
        np.testing.assert_allclose((y1 - y0, abs(x1 - x0)), extent(crops[0]))
