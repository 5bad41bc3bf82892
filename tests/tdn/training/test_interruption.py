from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch.distributed import DistError

from tdn.training import interruption
from tdn.training.interruption import STOPPED, StopRequest, marking_early_stop
from tdn.training.processes.board import Alarm, Board
from tdn.training.processes.distributed import Processes
from tdn.training.processes.leaving import KnownError
from tdn.training.saving.run_folder import RunFolder

ALONE, FIRST = (Processes(0, count, torch.device("cpu")) for count in (1, 2))


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(interruption, "time", clock)
    return clock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_a_request_and_time_makes_it_an_order(clock, number):
    with StopRequest(ALONE, time_limit=30) as stop:
        stop.defer()
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        assert stop.impatience is None
        clock.now += 30.5
        assert "30 s" in stop.impatience


def test_a_signal_that_came_twice_is_one_and_a_later_one_is_an_order(clock):
    """torchrun and the scheduler both pass it on."""
    with StopRequest(ALONE, time_limit=30) as stop:
        stop.defer()
        signal.raise_signal(signal.SIGTERM)
        clock.now += 1
        signal.raise_signal(signal.SIGUSR2)
        assert stop.impatience is None
        clock.now += 10
        signal.raise_signal(signal.SIGTERM)
        assert stop.impatience == "asked to stop twice"


def test_before_there_is_anything_to_save_a_signal_ends_the_run_with_the_marker(
    tmp_path, monkeypatch
):
    before = signal.getsignal(signal.SIGUSR2)
    folder = RunFolder(tmp_path / "run")
    with (
        pytest.raises(SystemExit) as end,
        StopRequest(ALONE, 30),
        marking_early_stop(folder, ALONE),
    ):
        signal.raise_signal(signal.SIGUSR2)
    assert end.value.code == STOPPED == os.EX_TEMPFAIL
    assert '"step": null' in folder.interrupted.read_text()
    assert signal.getsignal(signal.SIGUSR2) is before


@pytest.mark.parametrize(("status", "marked"), [(STOPPED, True), (1, False)])
def test_the_marker_is_there_too_where_another_process_was_asked_before_the_first_step(
    tmp_path, status, marked
):
    folder, board = RunFolder(tmp_path / "run"), Board(None)
    main = Processes(0, 2, torch.device("cpu"), board)
    board.raise_alarm(Alarm(1, status, "stopped"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(DistError), StopRequest(main, 30), marking_early_stop(folder, main):
            raise DistError("Connection closed by peer")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert folder.interrupted.exists() == marked


@pytest.mark.parametrize(
    ("processes", "error", "ignored"),
    [
        (FIRST, RuntimeError("Connection closed by peer"), True),
        (FIRST, KnownError("all know"), False),
        (ALONE, RuntimeError("a defect"), False),
    ],
)
def test_a_process_that_ends_out_of_order_is_not_ended_before_it_has_told_why(
    processes, error, ignored
):
    """torchrun sends SIGTERM when another one has ended; a later run catches it again."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(type(error)), StopRequest(processes, 30):
            raise error
        assert (signal.getsignal(signal.SIGTERM) is before) != ignored
        if ignored:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
