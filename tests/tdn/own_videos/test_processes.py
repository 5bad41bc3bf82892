from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.own_videos import processes
from tdn.own_videos.processes import run_to_its_end, train_on

STOPPING = """
import pathlib, signal, sys, time
def stop(number, frame):
    time.sleep(0.2)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_request_is_passed_on_and_the_end_is_waited_for(tmp_path):
    ready = tmp_path / "ready"

    def ask() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    asking = threading.Thread(target=ask)
    asking.start()
    status = run_to_its_end([sys.executable, "-c", STOPPING, str(ready)])
    asking.join()
    assert status == 75
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize(("code", "status"), [("exit(3)", 3), ("import os; os.abort()", 134)])
def test_the_status_is_a_shell_s(code, status):
    assert run_to_its_end([sys.executable, "-c", code]) == status


def test_several_processes_read_what_was_asked_for_last(tmp_path, monkeypatch):
    started = []

    def run(words):
        started.append((words, load_config(Path(words[-1]))))
        return 75

    monkeypatch.setattr(processes, "run_to_its_end", run)
    config = Config(output=str(tmp_path / "run"))
    config.model.num_classes, config.training.epochs = 3, 11
    assert train_on(config, 4) == 75
    ((words, asked),) = started
    assert "--nproc-per-node=4" in words
    assert words[-4:-1] == ["tdn", "train", "--config"]
    assert asked.training.epochs == 11
    # What it was asked for is not what it has done: the trainer writes config.yaml.
    assert not any((tmp_path / "run").iterdir())
