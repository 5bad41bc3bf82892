"""How processes leave a run that cannot go on; two real ones are in test_kill_trials."""

from __future__ import annotations

import atexit
import platform
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from tdn.errors import UserError
from tdn.training.processes import leaving
from tdn.training.processes.board import Alarm, Board
from tdn.training.processes.hosts import introduce, open_board
from tdn.training.processes.leaving import end_undisturbed, leave
from tests.tdn.training.stores import GoneStore

LOST = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")


@pytest.fixture
def ends(monkeypatch) -> Iterator[list[int]]:
    """The exit statuses that processes are made to end with."""
    found: list[int] = []
    monkeypatch.setattr(atexit, "register", lambda _, status: found.append(status))
    before = signal.getsignal(signal.SIGTERM)
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def boards() -> tuple[Board, Board]:
    store = dist.HashStore()
    return Board(store), Board(store)


def told(departure: BaseException) -> tuple[str, object]:
    if isinstance(departure, SystemExit):
        return "exit", departure.code
    return type(departure).__name__, str(departure)


@pytest.mark.parametrize("fails", [0, 1])
def test_a_mistake_that_one_process_meets_is_told_by_the_main_one(ends, boards, fails):
    departures = {fails: leave(UserError("clip: gone"), fails, boards[0])}
    departures[1 - fails] = leave(LOST, 1 - fails, boards[1])
    assert told(departures[0]) == ("UserError", "clip: gone")
    assert told(departures[1]) == ("exit", 2)
    assert ends == [2, 2]


def test_a_defect_shows_its_traceback_where_it_was_met_and_a_line_on_the_main_process(ends, boards):
    error = ZeroDivisionError("by zero\nand more")
    assert leave(error, 1, boards[0]) is error
    message = leave(LOST, 0, boards[1]).code
    assert message == "tdn: process 1 failed: ZeroDivisionError: by zero"
    assert ends == [1, 1]


def test_who_tells_why_it_ends_is_not_ended_before_and_can_be_asked_to_end_later(monkeypatch):
    """torchrun sends SIGTERM to the others; a notebook may go on after the error."""
    now, asked = 100.0, []
    monkeypatch.setattr(leaving, "time", SimpleNamespace(monotonic=lambda: now))
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(now))
    try:
        for _ in range(2):  # on its way out through several blocks
            end_undisturbed()
        signal.raise_signal(signal.SIGTERM)
        assert not asked
        now += 11
        signal.raise_signal(signal.SIGTERM)
        assert asked == [now]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_of_two_mistakes_the_first_is_told(ends, boards):
    leave(UserError("first"), 1, boards[0])
    assert told(leave(UserError("second"), 0, boards[1])) == ("UserError", "first")


def test_a_process_that_is_gone_without_a_word_is_told_with_what_to_do(ends, boards, monkeypatch):
    monkeypatch.setattr("tdn.training.processes.leaving.PATIENCE", 0.2)
    kind, message = told(leave(LOST, 0, boards[0]))
    assert kind == "exit"
    assert "Connection closed by peer" in message
    assert "same command again" in message
    assert "\n" not in message
    assert told(leave(LOST, 1, boards[1])) == ("exit", 1)


def test_a_process_that_is_gone_is_told_with_its_host(ends, monkeypatch):
    monkeypatch.setattr(leaving, "PATIENCE", 0.0)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    store = dist.HashStore()
    introduce(store)
    lost = RuntimeError("[gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:4711. And so on")
    message = leave(lost, 0, open_board(store)).code
    assert f"another process on host {platform.node()} ended" in message
    elsewhere = RuntimeError("[gloo/pair.cc:547] Connection closed by peer [10.0.0.9]:4711")
    assert "another process ended" in leave(elsewhere, 0, Board(dist.HashStore())).code


def test_where_the_main_process_is_out_of_reach_the_first_of_each_host_tells(ends, monkeypatch):
    monkeypatch.setattr(leaving, "PATIENCE", 0.0)

    monkeypatch.setenv("LOCAL_RANK", "0")
    kind, message = told(leave(LOST, 8, Board(GoneStore(), host="first")))
    assert kind == "exit"
    assert "another process on host first ended" in message
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert told(leave(LOST, 9, Board(GoneStore(), host="first"))) == ("exit", 1)


def test_an_alarm_holds_when_the_board_has_ended(ends, boards, monkeypatch):
    boards[0].raise_alarm(Alarm(0, 2, "clip: gone"))
    assert boards[1].alarm() is not None
    monkeypatch.setattr(Board, "read", lambda *_: None)
    assert told(leave(LOST, 1, boards[1])) == ("exit", 2)


def test_of_a_lost_host_nobody_tells_but_the_watchdog(ends, boards):
    boards[0].raise_alarm(Alarm(0, 68, "lost host h1"))
    assert [told(leave(LOST, rank, boards[rank])) for rank in (0, 1)] == [("exit", 68)] * 2


def test_a_stall_that_passed_hides_no_failure(ends, boards):
    boards[1].raise_alarm(Alarm(1, 69, "no progress"), "stall 0")
    assert told(leave(UserError("clip: gone"), 0, boards[0])) == ("UserError", "clip: gone")


def test_a_request_to_stop_keeps_its_status(ends, boards):
    assert told(leave(SystemExit(75), 1, boards[0])) == ("exit", 75)
    assert told(leave(LOST, 0, boards[1])) == ("exit", 75)
    assert told(leave(KeyboardInterrupt(), 1, Board(None))) == ("exit", 130)
