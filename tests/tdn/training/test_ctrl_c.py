"""Signals from the keyboard."""

from __future__ import annotations

import signal

import pytest

from tests.tdn.training.runs import ask_to_stop, run


@pytest.fixture
def on_ctrl_c():
    """Sets what Ctrl-C does; put back afterwards. A test run in the background ignores it."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_with_a_checkpoint_and_handlers_are_put_back(tmp_path, tiny, on_ctrl_c):
    on_ctrl_c(signal.default_int_handler)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    tiny.hooks["train"] = ask_to_stop((0, 1), signal.SIGINT)
    assert run(tmp_path).step == 2
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_ctrl_c_stops_at_once(tmp_path, tiny, on_ctrl_c):
    def twice(epoch: int, step: int) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    on_ctrl_c(signal.default_int_handler)
    tiny.hooks["train"] = twice
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_an_ignored_signal_stays_ignored(tmp_path, tiny, on_ctrl_c):
    """Programs that a script runs in the background ignore the Ctrl-C meant for others."""
    on_ctrl_c(signal.SIG_IGN)
    tiny.hooks["train"] = ask_to_stop((0, 1), signal.SIGINT)
    assert run(tmp_path).completed
