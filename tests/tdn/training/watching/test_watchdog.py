"""What the watchdog sees, says and ends; two processes that stall are in test_distributed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tdn.training.interruption import StopRequest
from tdn.training.processes import whereabouts
from tdn.training.processes.board import Alarm
from tdn.training.processes.whereabouts import BACKWARD, COMMUNICATION, DATA, FORWARD, SAVING
from tdn.training.watching import watchdog
from tdn.training.watching.stall_report import Stand, describe, verdict
from tests.tdn.training.runs import events, run


def stand(rank: int, step: int, phase: str) -> Stand:
    return Stand(rank, "node", 100 + rank, step, phase, 12.0, f"stack of {rank}")


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ([stand(0, 7, BACKWARD), stand(1, 7, DATA)], "process 1 waited for data"),
        ([stand(0, 7, BACKWARD), None], "process 1 did not answer"),
        ([stand(0, 7, DATA), None], "process 1 did not answer"),
        ([stand(0, 9, BACKWARD), stand(1, 8, FORWARD)], "out of step: process 1 stood behind"),
        ([stand(0, 9, BACKWARD), stand(1, 9, FORWARD)], "process 1 did not get on with: forward"),
        ([stand(0, 9, SAVING), stand(1, 9, COMMUNICATION)], "process 0 did not get on with: sav"),
        ([stand(0, 9, BACKWARD), stand(1, 9, BACKWARD)], "waited for each other"),
        ([stand(rank, 3, DATA) for rank in range(10)], "processes 0, 1, 2, 3, 4, 5, 6, 7, ..."),
        ([stand(0, 9, BACKWARD)], "process 0 did not get on with: backward"),
        ([stand(0, 9, DATA)], "process 0 waited for data"),
    ],
)
def test_the_verdict_names_who_holds_up_the_others(stands, said):
    assert said in verdict(stands)


def test_every_process_has_a_line():
    text = describe([stand(0, 7, BACKWARD), None, stand(2, 6, DATA)])
    lines = text.splitlines()
    assert "process 0 (node, 100): after step 7, backward" in lines[0]
    assert "process 1: no answer" in lines[1]
    assert "waiting for data for 12 s" in lines[2]
    assert len(lines) == 4


@pytest.fixture
def ended(monkeypatch) -> list[int]:
    """The statuses that the watchdog would have ended the process with."""
    found: list[int] = []
    monkeypatch.setattr(watchdog.os, "_exit", found.append)
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("split", "at", "step"), [("train", (1, 2), 7), ("validation", (0, 1), 5), ("train", (1, 0), 5)]
)
def test_a_stall_is_told_with_all_stacks_and_the_run_goes_on(
    tmp_path, tiny, capsys, ended, split, at, step
):
    """In training, in a validation, and before it, for the statistics of batch norm."""
    path = tmp_path / "stall.txt"

    def hang(*now: int) -> None:
        if now == at:
            wait_until(lambda: path.exists() and "wait_until" in path.read_text())

    tiny.hooks[split] = hang
    assert run(tmp_path, training__stall_timeout=0.2, training__precise_bn=16).completed
    told = capsys.readouterr().err
    assert f"after step {step}, waiting for data" in told
    assert "process 0 waited for data" in told
    assert str(path) in told
    assert not ended


def test_a_stalled_run_is_ended_where_that_is_wished(tmp_path, tiny, ended):
    tiny.hooks["train"] = lambda *at: at == (1, 2) and wait_until(lambda: ended)
    run(tmp_path, training__stall_timeout=0.2, training__stall_exit=True)
    assert set(ended) == {69}
    assert (tmp_path / "stall.txt").exists()


@pytest.fixture
def let_pass(monkeypatch) -> Callable[[], None]:
    """Lets four seconds pass for the run and its watchdog, which then looks at the run."""
    now, looks = 0.0, 0
    look = watchdog.Watchdog._look_at_progress

    def counted(dog: watchdog.Watchdog) -> Alarm | None:
        nonlocal looks
        looks += 1
        return look(dog)

    def let_pass() -> None:
        nonlocal now
        now += 4.0
        seen = looks
        wait_until(lambda: looks > seen + 1)  # the first may have begun before

    for module in (watchdog, whereabouts):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(watchdog.Watchdog, "_look_at_progress", counted)
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.01)
    return let_pass


def test_a_run_that_goes_on_is_left_alone(tmp_path, tiny, capsys, let_pass):
    """Though its five steps, and the four of its validation, take longer than the limit in all."""
    for split in ("train", "validation"):
        tiny.hooks[split] = lambda *_: let_pass()
    run(tmp_path, training__stall_timeout=10.0, training__epochs=1)
    assert "no progress" not in capsys.readouterr().err
    assert not (tmp_path / "stall.txt").exists()


def test_to_begin_may_take_long(tmp_path, tiny, capsys, monkeypatch, let_pass):
    """A list of millions of videos is long to index."""

    def create_loader(*arguments: object, **settings: object) -> object:
        for _ in range(4):
            let_pass()
        return tiny.create_loader(*arguments, **settings)

    monkeypatch.setattr("tdn.create_loader", create_loader, raising=False)
    run(tmp_path, training__stall_timeout=10.0, training__epochs=1)
    assert "no progress" not in capsys.readouterr().err


@pytest.mark.parametrize("why", ["twice", "late"])
def test_a_run_that_does_not_stop_when_it_should_is_ended_with_the_marker(
    tmp_path, tiny, capsys, ended, monkeypatch, why
):
    """The data hang, so that the end of the step does not come."""
    monkeypatch.setattr("tdn.training.interruption.REPEATED", 0.0)
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.05)

    def hang(*at: int) -> None:
        if at == (1, 2):
            for _ in range(2 if why == "twice" else 1):
                signal.raise_signal(signal.SIGTERM)
            wait_until(lambda: ended)

    tiny.hooks["train"] = hang
    run(tmp_path, training__stop_timeout=60.0 if why == "twice" else 0.2)
    assert set(ended) == {75}
    told = capsys.readouterr().err
    assert "asked to stop" in told
    assert "waiting for data, after step 7" in told


def test_a_run_whose_launcher_was_killed_saves_and_stops(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.02)
    parent = os.getppid()
    killed = threading.Event()
    monkeypatch.setattr(watchdog.os, "getppid", lambda: 1 if killed.is_set() else parent)
    asked: list[StopRequest] = []
    ask = StopRequest.ask
    monkeypatch.setattr(StopRequest, "ask", lambda self: (asked.append(self), ask(self)))

    def kill(*at: int) -> None:
        if at == (1, 2):
            killed.set()
            wait_until(lambda: asked)

    tiny.hooks["train"] = kill
    result = run(tmp_path)
    assert (result.completed, result.step) == (False, 8)
    assert (tmp_path / "interrupted.json").exists()


def test_a_process_that_hangs_while_another_has_failed_is_ended_with_its_line(
    tmp_path, tiny, capsys, ended, monkeypatch
):
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(watchdog, "GRACE", 0.1)
    dogs: list[watchdog.Watchdog] = []
    enter = watchdog.Watchdog.__enter__
    monkeypatch.setattr(
        watchdog.Watchdog, "__enter__", lambda self: (dogs.append(self), enter(self))[1]
    )

    def hang(*at: int) -> None:
        if at == (0, 2):
            dogs[0]._processes.board.raise_alarm(Alarm(1, 2, "clip: gone"))
            wait_until(lambda: ended)

    tiny.hooks["train"] = hang
    run(tmp_path)
    assert set(ended) == {2}
    assert "tdn: clip: gone\n" in capsys.readouterr().err


def test_a_suspended_process_is_excused(tmp_path, tiny, capsys, monkeypatch):
    """Ctrl-Z and fg: the watchdog itself wakes up too late."""
    monkeypatch.setattr(watchdog, "ASLEEP", -1.0)  # any time is too late
    tiny.hooks["train"] = lambda *at: at == (0, 2) and time.sleep(0.6)
    run(tmp_path, training__stall_timeout=0.2, training__epochs=1)
    assert "no progress" not in capsys.readouterr().err


def test_the_marker_tells_which_step_was_saved(tmp_path, tiny):
    tiny.hooks["train"] = lambda *at: at == (0, 2) and signal.raise_signal(signal.SIGUSR2)
    run(tmp_path)
    assert '"step": 3' in (tmp_path / "interrupted.json").read_text()
    assert events(tmp_path, "end")[0]["completed"] is False
