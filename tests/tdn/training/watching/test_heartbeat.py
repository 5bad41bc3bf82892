"""The watchdog's sign of life, for whoever looks on from outside."""

from __future__ import annotations

import os
import time

import pytest
import torch

from tdn.config import TrainingConfig
from tdn.training.interruption import StopRequest
from tdn.training.processes.distributed import Processes
from tdn.training.saving.run_folder import RunFolder
from tdn.training.watching import watchdog
from tdn.training.watching.watchdog import Watchdog

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def watching(tmp_path, monkeypatch) -> Watchdog:
    """A watchdog that looks often; the run is starting, as while a list is indexed."""
    monkeypatch.setenv("TDN_HEARTBEAT", str(tmp_path))
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.01)
    folder = RunFolder(tmp_path / "run")
    return Watchdog(TrainingConfig(), ALONE, StopRequest(ALONE, 30), folder)


def test_the_file_of_a_process_is_touched_for_as_long_as_it_is_watched(watching, tmp_path):
    file = tmp_path / str(os.getpid())
    with watching:
        os.utime(file, (0, 0))
        while file.stat().st_mtime == 0:
            time.sleep(0.01)
        assert abs(time.time() - file.stat().st_mtime) < 60
    assert not file.exists()


def test_a_folder_that_is_gone_does_not_disturb_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TDN_HEARTBEAT", str(tmp_path / "gone"))
    with Watchdog(TrainingConfig(), ALONE, StopRequest(ALONE, 30), RunFolder(tmp_path)):
        pass


def test_nothing_is_written_where_nobody_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv("TDN_HEARTBEAT", raising=False)
    monkeypatch.chdir(tmp_path)
    with Watchdog(TrainingConfig(), ALONE, StopRequest(ALONE, 30), RunFolder(tmp_path)):
        assert list(tmp_path.iterdir()) == []
