"""Who judges whom lost, and when; two real hosts are in tests/launch/test_two_hosts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from tdn.config import TrainingConfig
from tdn.training.interruption import StopRequest
from tdn.training.processes import board, hosts
from tdn.training.processes.board import Board
from tdn.training.processes.distributed import Processes
from tdn.training.processes.hosts import LOST, HostWatch, introduce, open_board
from tdn.training.saving.run_folder import RunFolder
from tdn.training.watching import watchdog
from tests.tdn.training.stores import GoneStore

HOSTS = 4


class Clock:
    """Time as the watches see it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for module in (hosts, board):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


class Fleet:
    """The watches of the first process of each of four hosts, two processes each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.clock = clock
        self.store = dist.HashStore()
        for host in range(HOSTS):
            place(monkeypatch, host)
            monkeypatch.setattr(hosts.platform, "node", lambda host=host: f"h{host}")
            introduce(self.store)
        self.watches = []
        for host in range(HOSTS):
            place(monkeypatch, host)
            self.watches.append(HostWatch(60.0, 2 * host, open_board(self.store)))

    def alarm(self, seconds: int, alive: tuple[int, ...]) -> str | None:
        """Let time pass, in which these hosts look; what the main process says."""
        for _ in range(seconds):
            self.clock.now += 1.0
            for host in alive:
                found = self.watches[host].look()
                if found is not None:
                    assert (host, found.rank, found.status) == (0, 0, LOST)
                    return found.message
        return None


def place(monkeypatch: pytest.MonkeyPatch, host: int, local: int = 0, count: int = HOSTS) -> None:
    for key, value in (("GROUP_RANK", host), ("GROUP_WORLD_SIZE", count), ("LOCAL_RANK", local)):
        monkeypatch.setenv(key, str(value))


def member(rank: int, board: Board) -> Processes:
    return Processes(rank, 2 * HOSTS, torch.device("cpu"), board)


@pytest.fixture
def fleet(monkeypatch, clock) -> Fleet:
    return Fleet(monkeypatch, clock)


def test_hosts_that_give_signs_of_life_are_left_alone(fleet):
    assert fleet.alarm(300, alive=(0, 1, 2, 3)) is None


def test_a_short_silence_is_waited_out(fleet):
    for _ in range(3):
        assert fleet.alarm(55, alive=(0, 1, 3)) is None
        assert fleet.alarm(2, alive=(0, 1, 2, 3)) is None


def test_all_hosts_that_are_silent_are_named(fleet):
    assert fleet.alarm(10, alive=(0, 1, 2, 3)) is None
    message = fleet.alarm(65, alive=(0, 2))
    assert "hosts h1, h3:" in message
    assert "60 s" in message
    assert "\n" not in message


@pytest.mark.parametrize("when", ["at the start", "at the loss"])
def test_a_board_that_does_not_answer_for_a_moment_changes_nothing(monkeypatch, fleet, when):
    place(monkeypatch, 0)
    board = open_board(fleet.store)
    answer, questions = board.read_all, []

    def read_all(keys):
        questions.append(keys)
        is_first = len(questions) == 1 if when == "at the start" else keys == ["host 1", "host 3"]
        return None if is_first and questions.count(keys) == 1 else answer(keys)

    monkeypatch.setattr(board, "read_all", read_all)
    fleet.watches[0] = HostWatch(60.0, 0, board)
    assert fleet.alarm(10, alive=(0, 1, 2, 3)) is None
    assert "hosts h1, h3:" in fleet.alarm(65, alive=(0, 2))


def test_a_host_that_never_gave_a_sign_is_named(fleet):
    assert "host h2:" in fleet.alarm(65, alive=(0, 1, 3))


def test_a_host_that_ended_its_part_in_order_is_not_lost(fleet):
    fleet.alarm(3, alive=(0, 1, 2, 3))
    fleet.watches[1].leave()
    assert fleet.alarm(300, alive=(0, 2, 3)) is None


def test_time_in_which_the_main_process_was_suspended_does_not_count(fleet):
    fleet.alarm(3, alive=(0, 1, 2, 3))
    fleet.clock.now += 1000.0
    fleet.watches[0].excuse()
    assert fleet.alarm(50, alive=(0,)) is None
    assert "hosts h1, h2, h3:" in fleet.alarm(20, alive=(0,))


@pytest.mark.parametrize("local", [0, 1])
def test_the_silence_of_the_board_is_that_of_the_main_process_s_host(
    monkeypatch, fleet, clock, local
):
    """For every process of the other hosts, as long as it lasts."""
    place(monkeypatch, 1, local)
    reached = open_board(fleet.store)
    watch = HostWatch(60.0, 2 + local, reached)
    clock.now += 59.0
    assert watch.look() is None
    reached.read("anything")
    clock.now += 59.0
    monkeypatch.setattr(reached, "write", lambda *_: None)
    assert watch.look() is None
    clock.now += 2.0
    assert "lost host h0:" in watch.look().message
    watch.excuse()
    assert watch.look() is None


@pytest.mark.parametrize(("count", "timeout"), [(1, 60.0), (HOSTS, 0.0)])
def test_a_single_host_or_a_timeout_of_0_is_never_judged(monkeypatch, clock, count, timeout):
    for host in range(2):
        place(monkeypatch, host, count=count)
        watch = HostWatch(timeout, host, Board(GoneStore(), host="h0"))
        clock.now += 1000.0
        assert watch.look() is None


@pytest.mark.parametrize(("local", "told"), [(0, True), (1, False)])
def test_a_process_that_hangs_while_a_host_is_lost_is_ended(
    monkeypatch, tmp_path, capsys, local, told
):
    """One process of each host says so."""
    ended = []
    monkeypatch.setattr(watchdog.os, "_exit", ended.append)
    monkeypatch.setattr(watchdog, "end_deaf_launcher", ended.append)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setenv("TDN_LOST", str(note := tmp_path / "lost"))
    place(monkeypatch, 1, local)
    processes = member(2 + local, Board(GoneStore(), host="h0"))
    training = TrainingConfig(host_timeout=0.2)
    with watchdog.Watchdog(training, processes, StopRequest(processes, 9.0), RunFolder(tmp_path)):
        assert not note.exists()
        launcher = os.getppid()
        monkeypatch.setattr(watchdog.os, "getppid", lambda: 1)  # it has just ended
        deadline = time.monotonic() + 60
        while len(ended) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert ended[:2] == [launcher, LOST]
    assert note.exists()
    assert told == ("lost host h0:" in (said := capsys.readouterr().err))
    assert told or not said


@contextmanager
def watched(folder: Path, board: Board, timeout: float) -> Iterator[None]:
    """Inside, a watchdog looks on for the first process of the second host."""
    processes, training = member(2, board), TrainingConfig(host_timeout=timeout)
    with watchdog.Watchdog(training, processes, StopRequest(processes, 9.0), RunFolder(folder)):
        yield


def test_a_run_that_ends_in_order_leaves_in_order(monkeypatch, tmp_path):
    store = dist.HashStore()
    for host in (0, 1):
        place(monkeypatch, host)
        introduce(store)
    board = open_board(store)
    with watched(tmp_path, board, 0.2):
        deadline = time.monotonic() + 60
        while board.read("life of host 1") == "":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert board.read("life of host 1") == "left"


def test_a_process_that_was_suspended_misses_nobody(monkeypatch, tmp_path, clock):
    """Ctrl-Z and fg: the watchdog itself wakes up too late, every time it looks."""
    ended, looks = [], []
    monkeypatch.setattr(watchdog.os, "_exit", ended.append)

    def much_later() -> float:
        clock.now += 100.0
        looks.append(clock.now)
        return clock.now

    place(monkeypatch, 1)
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=much_later))
    with watched(tmp_path, Board(GoneStore(), host="h0"), 0.2):
        deadline = time.monotonic() + 60
        while len(looks) < 8 and not ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not ended


def test_a_process_does_not_go_on_without_its_watchdog(monkeypatch, tmp_path, capsys):
    """Whatever that fails of: the others are told as well."""
    ended = []
    monkeypatch.setattr(watchdog.os, "_exit", ended.append)
    monkeypatch.setattr(HostWatch, "look", lambda _: 1 / 0)
    board = Board(None)
    with watched(tmp_path, board, 0.2):
        deadline = time.monotonic() + 60
        while not ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert ended == [1]
    line = capsys.readouterr().err.splitlines()[-1]
    assert "process 2 failed: its watchdog ended with ZeroDivisionError" in line
    assert board.alarm().message in line
