from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.prediction.windows import sliding, whole

seconds = st.floats(0.05, 30)
steps = st.lists(st.floats(0.01, 2), min_size=1, max_size=60)


@given(steps, seconds, seconds)
def test_windows_are_equally_long_and_reach_the_end(steps, length, every):
    times = np.concatenate([[0], np.cumsum(steps)])
    windows = sliding(0, times, length, every)
    end = times[-1]
    assert windows[0].start == 0
    assert windows[-1].end == pytest.approx(end)
    for window in windows:
        assert window.end - window.start == pytest.approx(min(length, end), abs=1e-5)
        assert window.frames >= 1
        assert 0 <= window.first <= window.first + window.frames < len(times)
    for one, following in pairwise(windows):
        assert 0 < following.start - one.start <= every + 1e-5


@given(st.integers(1, 80), st.integers(1, 40), st.integers(1, 40))
def test_at_a_constant_rate_windows_are_so_many_frames(frames, length, every):
    rate = 25
    windows = sliding(3, np.arange(frames + 1) / rate, length / rate, every / rate)
    assert all(window.row == 3 for window in windows)
    assert all(window.frames == min(length, frames) for window in windows)
    last = max(frames - length, 0)
    expected = [*range(0, last + 1, every)]
    assert [window.first for window in windows] == expected + [last] * (expected[-1] != last)


@given(steps, seconds)
def test_windows_side_by_side_hold_every_frame_once(steps, length):
    """But for the last one, which ends with the video; and for windows in which no frame begins."""
    times = np.concatenate([[0], np.cumsum(steps)])
    windows = sliding(0, times, length, length)
    begin = [
        np.flatnonzero((times[:-1] >= w.start - 1e-6) & (times[:-1] < w.end - 1e-6))
        for w in windows
    ]
    for window, frames in zip(windows, begin, strict=True):
        if len(frames):
            assert list(range(window.first, window.first + window.frames)) == frames.tolist()
        else:  # one that is shown meanwhile
            assert window.frames == 1
            assert times[window.first] <= window.start


def test_the_whole_video_is_one_window():
    assert whole(2, np.array([0, 0.5, 1.0])) == [(2, 0.0, 1.0, 0, 2)]
