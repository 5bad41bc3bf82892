from __future__ import annotations

import sys

from tdn.pipelines import probe_workers
from tdn.pipelines.probe import Request, probe
from tdn.pipelines.probe_workers import _Worker, probe_clips
from tests.videos import write_video


def test_results_are_those_of_one_process_in_order(tmp_path):
    paths = [str(write_video(tmp_path / f"{n}.webm", n)) for n in (1, 2, 5, 9)]
    requests = [Request(path) for path in paths]
    requests.insert(2, Request(str(tmp_path / "missing.webm")))
    told = {}
    found = probe_clips(requests, workers=2, done=lambda row, result: told.update({row: result}))
    assert found == [probe(request) for request in requests]
    assert [told[row] for row in range(len(requests))] == found


def test_a_crash_and_a_hang_cost_one_file_each(tmp_path, monkeypatch):
    path = Request(str(write_video(tmp_path / "a.webm", 2)))
    crashing = _Worker((sys.executable, "-c", "import os; input(); os._exit(139)"))
    found = crashing.probe(path)
    assert "crashes" in found.problem
    assert found.mtime == 0  # to be tried again next time
    monkeypatch.setattr(probe_workers, "_TIMEOUT", 0.3)
    hanging = _Worker((sys.executable, "-c", "import time; time.sleep(60)"))
    assert "stops" in hanging.probe(path).problem
    monkeypatch.setattr(probe_workers, "_TIMEOUT", 60.0)
    worker = _Worker()
    try:
        assert worker.probe(path).frames == 2
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
        assert "crashes" in worker.probe(path).problem
        assert worker.probe(path).frames == 2  # by a new subprocess
    finally:
        worker.stop()


def test_it_works_from_a_script_without_a_main_guard(tmp_path):
    import subprocess

    path = write_video(tmp_path / "a.webm", 2)
    script = tmp_path / "script.py"
    script.write_text(
        "from tdn.pipelines.probe import Request\n"
        "from tdn.pipelines.probe_workers import probe_clips\n"
        f"print(probe_clips([Request({str(path)!r})], 1)[0].frames)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"
