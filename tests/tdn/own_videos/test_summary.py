from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.own_videos.summary import interval, summary


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


@pytest.mark.parametrize(("right", "sure"), [(19, True), (12, False)])
def test_it_tells_accuracy_from_guessing_and_how_to_go_on(tmp_path, right, sure):
    root = tmp_path / "a run"
    root.mkdir()
    labels = np.array([0] * 8 + [1] * 12)
    metrics = {"top1": 100 * right / 20, "class_names": ["walk", "run"]}
    (root / "metrics.json").write_text(json.dumps(metrics))
    np.savez(root / "scores.npz", indices=np.arange(20), labels=labels, scores=np.zeros((20, 1, 2)))
    command = ["tdn", "train", "--data.root", "my videos"]
    lines = summary(root, [(root / "report.html", "a page")], command, 2.0).splitlines()
    told = lines[1]
    assert f"{metrics['top1']:.1f} %" in told
    assert "'run' would give 60.0 %" in told
    assert ("not surely" in told) is not sure
    assert shlex.split(lines[-3])[-1] == str(root / "checkpoints" / "last.pt")
    assert shlex.split(lines[-1]) == [*command, "--minutes", "6"]
