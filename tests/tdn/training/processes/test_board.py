"""The board where its store does not answer; real cuts are in tests/launch/test_two_hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch.distributed as dist

from tdn.training.processes import board
from tdn.training.processes.board import Alarm, Board
from tests.tdn.training.stores import CutStore


@pytest.fixture
def store(monkeypatch) -> Iterator[CutStore]:
    monkeypatch.setattr(board, "_PATIENCE", 0.2)
    store = CutStore()
    yield store
    store.connected.set()


def test_what_one_puts_up_another_reads():
    store = dist.HashStore()
    one, other = Board(store), Board(store)
    assert other.read("step") is None
    one.write("step", "7")
    one.write("phase", "data")
    assert other.read("step") == "7"
    assert other.read_all(["phase", "step"]) == ["data", "7"]
    assert other.answers


def test_nothing_hangs_while_the_connection_is_cut_and_all_goes_on_after_it(store):
    cut = Board(store)
    cut.write("step", "7")
    assert cut.read("step") == "7"
    heard_at = cut.heard_at
    store.connected.clear()
    asked = store.asked
    begins = time.monotonic()
    for _ in range(50):
        assert cut.read("step") is None
        assert not cut.answers
    assert time.monotonic() - begins < 5  # its patience ends once, not for each question
    assert store.asked == asked + 1
    assert cut.heard_at == heard_at
    store.connected.set()
    deadline = time.monotonic() + 60
    while cut.read("step") is None:
        assert time.monotonic() < deadline
    assert cut.answers
    assert cut.heard_at > heard_at


def test_an_alarm_that_cannot_be_told_still_holds_for_who_raised_it(store):
    cut = Board(store)
    alarm = Alarm(1, 68, "lost host first")
    store.connected.clear()
    assert cut.raise_alarm(alarm) == alarm
    assert cut.alarm() == alarm


def test_a_question_that_is_open_at_the_end_is_waited_for(store):
    """Coming back while Python ends, its thread would end the process by a signal."""
    cut = Board(store)
    store.connected.clear()
    assert cut.read("step") is None
    threading.Timer(0.1, store.connected.set).start()
    cut.close()
    assert store.connected.is_set()
    store.connected.clear()
    assert Board(store).read("step") is None
    begins = time.monotonic()
    cut.close()
    assert time.monotonic() - begins < 5
