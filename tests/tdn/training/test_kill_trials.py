"""Killed at random moments, a run ends as if nothing had happened.

TDN_KILL_TRIALS=20 adds that many trials, each with one killing, to the one with all kinds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tdn.training.kill_trials import KINDS, Trial, assert_same_end, make_videos
from tests.tdn.training.runs import events

TRIALS = int(os.environ.get("TDN_KILL_TRIALS", "0"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("trials") / "videos")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Trial:
    """The run that nothing happens to."""
    trial = Trial(tmp_path_factory.mktemp("whole") / "trial", videos)
    trial.survive([])
    return trial


@pytest.mark.parametrize(
    ("kinds", "seed"), [(KINDS, 0), *(([KINDS[n % len(KINDS)]], n) for n in range(1, TRIALS + 1))]
)
def test_a_run_survives_every_kind_of_killing(
    tmp_path, videos, whole, kinds: Sequence[str], seed: int
):
    """The first trial also meets a stall and a user's mistake on one process: a line for each."""
    trial = Trial(tmp_path / "trial", videos, seed)
    trial.survive(kinds, mistake=not seed)
    assert_same_end(trial, whole)
    said = trial.output.read_text()
    assert said.count("tdn train: clip 1.mp4: gone\n") == (not seed)
    assert ("process 1 waited for data" in said) == (not seed)
    assert "UserError" not in said
    sessions = [event["step"] for event in events(trial.run, "start")]
    assert sessions[0] == 0
    assert events(trial.run, "start")[0]["time"] == trial.began
    assert len(set(sessions)) > 1
    assert sessions == sorted(sessions)
