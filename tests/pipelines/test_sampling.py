from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.sampling import clip_frames, train_starts, validation_starts

OPEN_CASE = json.loads((Path(__file__).parents[1] / "data/sampling/starts.json").read_text())["val"]
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
