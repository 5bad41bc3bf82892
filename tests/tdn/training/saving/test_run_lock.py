from __future__ import annotations

import fcntl
import logging
import os
import platform
import subprocess
import sys
import threading
import time

import pytest

from tdn.errors import UserError
from tdn.training.saving.run_lock import run_lock
from tests.tdn.training.runs import run

HOLDER = (
    "import sys, pathlib\n"
    "from tdn.training.saving.run_lock import run_lock\n"
    "with run_lock(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_a_second_run_is_refused_with_the_name_of_the_first_and_a_dead_one_is_taken_over(tmp_path):
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="output") as error, run_lock(tmp_path, patience=0):
            pass
        assert f"process {holder.pid} on {platform.node()} since 20" in str(error.value)
        assert "\n" not in str(error.value)
        holder.kill()
        holder.wait()
    with run_lock(tmp_path, patience=0):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_run_that_is_about_to_end_is_waited_for(tmp_path, caplog):
    begin = time.monotonic()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with run_lock(tmp_path):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(30)
    threading.Timer(0.5, leave.set).start()
    with caplog.at_level(logging.INFO), run_lock(tmp_path, patience=30):
        assert time.monotonic() - begin >= 0.5
    thread.join()
    (message,) = caplog.messages
    assert str(os.getpid()) in message


def test_folders_do_not_lock_each_other(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with run_lock(tmp_path / "one", patience=0), run_lock(tmp_path / "two", patience=0):
        pass
    with run_lock(tmp_path / "one", patience=0):
        pass


def test_storage_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(tmp_path):
        pass
    (message,) = caplog.messages
    assert str(tmp_path) in message


def test_a_folder_that_cannot_be_written_is_a_line(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"output.*\.lock"), run_lock(tmp_path):
        pass


def test_a_training_holds_its_folder_from_the_start_and_gives_it_back(tmp_path, tiny):
    def try_to_take(*_: int) -> None:
        with pytest.raises(UserError, match=str(os.getpid())), run_lock(tmp_path, patience=0):
            pass
        tried.append(None)

    tried: list[None] = []
    tiny.hooks["train"] = try_to_take
    run(tmp_path, training__epochs=1)
    assert len(tried) == 5
    assert not (tmp_path / ".lock").exists()
