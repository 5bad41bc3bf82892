from __future__ import annotations

import pytest

from tdn.pipelines.indexing import probe_workers
from tdn.pipelines.indexing.probe import Request, probe
from tdn.pipelines.indexing.probe_workers import probe_clips
from tests.videos import write_video


@pytest.fixture(autouse=True)
def standing_prober() -> None:
    """Not here: each call has processes of its own."""


def test_results_are_those_of_one_process_in_order(tmp_path):
    paths = [str(write_video(tmp_path / f"{n}.webm", n)) for n in (1, 2, 5, 9)]
    requests = [Request(path) for path in paths]
    requests.insert(2, Request(str(tmp_path / "missing.webm")))
    told = {}
    found = probe_clips(requests, workers=2, done=lambda row, result: told.update({row: result}))
    assert found == [probe(request) for request in requests]
    assert [told[row] for row in range(len(requests))] == found


def test_a_clip_that_crashes_the_decoder_has_a_problem(tmp_path, monkeypatch):
    request = Request(str(write_video(tmp_path / "a.webm", 2)))
    monkeypatch.setattr(probe_workers, "_TASK", "tests.pipelines.worker_tasks:crash")
    (found,) = probe_clips([request], workers=1)
    assert "crashes" in found.problem
    assert found.frames == 0
    assert found.mtime == 0  # to be tried again next time


def test_a_clip_that_stops_the_decoder_has_a_problem(tmp_path, monkeypatch):
    request = Request(str(write_video(tmp_path / "a.webm", 2)))
    monkeypatch.setattr(probe_workers, "_TASK", "tests.pipelines.worker_tasks:hang")
    monkeypatch.setattr(probe_workers, "_TIMEOUT", 0.5)
    (found,) = probe_clips([request], workers=1)
    assert "stops" in found.problem
