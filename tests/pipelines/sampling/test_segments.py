from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.sampling.segments import (
    clip_frames,
    dense_starts,
    train_starts,
    validation_starts,
)

OPEN_CASE = json.loads((Path(__file__).parents[2] / "data/sampling/starts.json").read_text())["val"]
CASES = [(int(t), int(n)) for t, lengths in OPEN_CASE.items() for n in lengths]


@pytest.mark.parametrize(("segments", "frames"), CASES)
def test_validation_agrees_with_the_released_code(segments, frames):
    case = OPEN_CASE[str(segments)][str(frames)]
    starts = validation_starts(frames, segments)
    assert (starts + 1).tolist() == case["starts"]
    assert (clip_frames(starts, frames).reshape(-1) + 1).tolist() == case["frames"]


lengths = st.integers(1, 400)
segment_counts = st.integers(1, 40)


@given(lengths, segment_counts)
def test_validation_agrees_with_the_rule_word_by_word(frames, segments):
    if frames > segments + 4:
        tick = (frames - 4) / segments
        expected = [1 + int(tick / 2 + tick * i) for i in range(segments)]
    else:
        expected = [1] * segments
    assert (validation_starts(frames, segments) + 1).tolist() == expected


@given(lengths, segment_counts, st.integers(0, 2**32))
def test_training_draws_one_start_per_part(frames, segments, seed):
    starts = train_starts(frames, segments, np.random.default_rng(seed)) + 1
    assert starts.shape == (segments,)
    part = (frames - 4) // segments
    if part >= 1:
        first = 1 + part * np.arange(segments)
        assert np.all((starts >= first) & (starts < first + part))
    elif frames > 4 and segments < frames:
        assert np.all(np.diff(starts) >= 0)
        assert starts.min() >= 1
        assert starts.max() <= frames - 4
    else:
        assert np.all(starts == 1)


def test_training_reaches_every_start_of_a_part():
    rng = np.random.default_rng(0)
    drawn = {tuple(train_starts(36, 8, rng) - 4 * np.arange(8)) for _ in range(200)}
    assert {offset for starts in drawn for offset in starts} == {0, 1, 2, 3}
    assert len(drawn) > 100  # the parts are drawn independently


@given(lengths, segment_counts, st.integers(0, 2**32))
def test_frames_follow_the_start_and_stay_in_the_video(frames, segments, seed):
    starts = train_starts(frames, segments, np.random.default_rng(seed))
    numbers = clip_frames(starts, frames)
    assert numbers.shape == (segments, 5)
    for offset in range(5):
        assert numbers[:, offset].tolist() == np.minimum(starts + offset, frames - 1).tolist()


strides = st.integers(1, 9)


@given(lengths, segment_counts, strides, st.integers(0, 2**32))
def test_with_a_stride_training_keeps_the_parts(frames, segments, stride, seed):
    """The rule of stride 1, where a segment reaches over 4 strides."""
    starts = train_starts(frames, segments, np.random.default_rng(seed), stride)
    part = (frames - 4 * stride) // segments
    if part >= 1:
        first = part * np.arange(segments)
        assert np.all((starts >= first) & (starts < first + part))
    elif frames > 4 * stride and segments < frames:
        assert np.all(np.diff(starts) >= 0)
        assert 0 <= starts.min() <= starts.max() < frames - 4 * stride
    else:
        assert np.all(starts == 0)
    numbers = clip_frames(starts, frames, stride)
    if frames > 4 * stride and segments < frames:  # no segment is cut short
        assert np.all(np.diff(numbers) == stride)


@given(lengths, segment_counts, strides)
def test_with_a_stride_validation_keeps_the_centres(frames, segments, stride):
    starts = validation_starts(frames, segments, stride)
    if frames > segments + 4 * stride:
        part = (frames - 4 * stride) / segments
        assert starts.tolist() == [int(part / 2 + part * i) for i in range(segments)]
        assert np.all(np.diff(clip_frames(starts, frames, stride)) == stride)
    else:
        assert np.all(starts == 0)


@given(lengths, segment_counts, strides, st.integers(0, 400))
def test_frames_of_a_segment_are_a_stride_apart_until_the_end(frames, segments, stride, start):
    starts = np.full(segments, min(start, frames - 1))
    expected = [min(starts[0] + stride * offset, frames - 1) for offset in range(5)]
    assert clip_frames(starts, frames, stride).tolist() == [expected] * segments


places = st.floats(0, 1)


@given(lengths, segment_counts, st.integers(1, 300), places)
def test_dense_segments_stand_evenly_in_their_span(frames, segments, span, place):
    starts = dense_starts(frames, segments, span, place)
    span = min(span, frames)
    assert starts.shape == (segments,)
    assert 0 <= starts[0] <= frames - span
    assert (starts - starts[0]).tolist() == [i * span // segments for i in range(segments)]


@given(lengths, segment_counts, st.integers(1, 300), places, places)
def test_dense_spans_go_from_the_start_to_the_end(frames, segments, span, one, other):
    first = dense_starts(frames, segments, span, 0.0)[0]
    last = dense_starts(frames, segments, span, 1.0)[0]
    assert (first, last) == (0, max(frames - span, 0))
    low, high = (dense_starts(frames, segments, span, place)[0] for place in sorted((one, other)))
    assert low <= high


def test_dense_training_reaches_every_start_alike():
    places = (np.arange(3000) + 0.5) / 3000
    starts = [dense_starts(40, 8, 32, place)[0] for place in places]
    _, counts = np.unique(starts, return_counts=True)
    assert len(counts) == 9  # 0 to 8
    assert counts.max() - counts.min() <= 1
