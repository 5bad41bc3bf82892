"""What a start of a launch takes over from the ones before; real ones are in test_kill_trials."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.training.processes.distributed import Processes
from tdn.training.saving.run_folder import RunFolder
from tests.tdn.training.runs import ask_to_stop, events, fail, run

ROOT = Path(__file__).parents[4]
Start = Callable[[str, int], None]


@pytest.fixture
def start(monkeypatch) -> Start:
    """Sets which start of which launch the next run is."""

    def start(name: str, restarts: int) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))

    return start


def crash(folder, tiny, at: tuple[int, int], **settings: object) -> None:
    tiny.hooks["train"] = fail(at)
    with pytest.raises(ConnectionError):
        run(folder, **settings)
    tiny.hooks.clear()


def starts(folder) -> list[int]:
    return [event["step"] for event in events(folder, "start")]


@pytest.mark.parametrize("origin", ["none", "path"])
def test_a_launch_that_is_started_again_goes_on_with_what_it_has_begun(
    tmp_path, tiny, start, origin
):
    """It does not start over, nor again from the checkpoint of its first start."""
    folder = tmp_path / "run"
    other = str(run(tmp_path / "other", training__epochs=1).last)
    first, resume = {"none": (0, "none"), "path": (5, other)}[origin]
    settings = {"training__resume": resume, "training__save_every_steps": 1}
    run(folder, training__epochs=1)  # what a former launch has left
    start("job", 0)
    crash(folder, tiny, (1, 2), **settings)
    start("job", 1)
    crash(folder, tiny, (2, 1), **settings)
    assert starts(folder) == [first, 7]
    start("job", 2)
    assert run(folder, **settings).completed
    assert starts(folder) == [first, 7, 11]
    start("job", 0)  # the next launch may have the same name
    crash(folder, tiny, (1, 0), **settings)
    assert starts(folder) == [first]


def test_a_job_that_is_launched_again_goes_on_with_what_it_has_begun(
    tmp_path, tiny, start, monkeypatch
):
    run(tmp_path, training__epochs=1)  # what another job has left
    for requeues, at in enumerate([(1, 2), (2, 1)]):
        monkeypatch.setenv("TDN_JOB", "job")
        start(f"job-{requeues}", 0)
        tiny.hooks["train"] = ask_to_stop(at)
        assert not run(tmp_path, training__resume="none").completed
    assert starts(tmp_path) == [0, 8]
    tiny.hooks.clear()
    monkeypatch.setenv("TDN_JOB", "another job")
    assert run(tmp_path, training__resume="none").completed
    assert starts(tmp_path) == [0]


def test_a_machine_that_comes_is_no_restart_that_is_counted(tmp_path, tiny, start, monkeypatch):
    start("job", 0)
    crash(tmp_path, tiny, (1, 2), training__resume="none")
    alone = partial(Processes, restarted=True)
    monkeypatch.setattr("tdn.training.processes.distributed.Processes", alone)
    assert run(tmp_path, training__resume="none").completed
    assert starts(tmp_path) == [0, 5]


def test_a_launch_that_was_killed_before_it_began_still_starts_over(tmp_path, tiny, start):
    start("job", 0)
    run(tmp_path, training__epochs=1)
    with pytest.raises(UserError):  # a launch of the same name
        run(tmp_path, training__resume="none", model__pretrained="missing.pt")
    start("job", 1)
    run(tmp_path, training__resume="none", training__epochs=1)
    assert starts(tmp_path) == [0]


def test_one_that_comes_from_a_path_and_was_killed_before_it_saved_comes_from_there_again(
    tmp_path, tiny, start
):
    other = str(run(tmp_path / "other", training__epochs=1).last)
    for restarts in (0, 1):
        start("job", restarts)
        crash(tmp_path / "run", tiny, (1, 1), training__resume=other)
        assert starts(tmp_path / "run") == [5]


def test_a_request_to_stop_outlives_a_restart(tmp_path, tiny, start, capsys):
    """To one process alone: torchrun takes its end for a failure."""
    start("job", 0)
    tiny.hooks["train"] = ask_to_stop((1, 2))
    stopped = run(tmp_path)
    tiny.hooks.clear()
    marker = (tmp_path / "interrupted.json").read_bytes()
    for restarts in (1, 2):
        start("job", restarts)
        again = run(tmp_path)
        assert (again.completed, again.step) == (False, stopped.step)
        assert "after step 8" in capsys.readouterr().out
    assert starts(tmp_path) == [0]
    assert (tmp_path / "interrupted.json").read_bytes() == marker
    start("job", 0)  # the same command, given again
    assert run(tmp_path).completed


@pytest.mark.parametrize("why", ["a machine came", "before the first step"])
def test_an_end_that_nobody_asked_the_run_for_does_not_outlive_it(tmp_path, tiny, start, why):
    """torchrun asks all processes to end when a machine comes, or one of them has failed."""
    start("job", 0)
    tiny.hooks["train"] = ask_to_stop((1, 2))
    run(tmp_path)
    tiny.hooks.clear()
    if why == "before the first step":
        RunFolder(tmp_path).mark_interrupted()
        start("job", 1)
    assert run(tmp_path).completed


LAUNCHER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
if sys.argv[3] == "attentive":
    child.wait()
time.sleep(float(sys.argv[4]))
"""

PROCESS = """
import os
from pathlib import Path
from tdn.training.processes import launch
launch.DEAF = 0.2
launch.end_deaf_launcher({launcher})
Path({flag!r}).touch()
"""


def launch_and_end(folder: Path, kind: str, launcher: str, seconds: int) -> int:
    """The status of a stand-in for torchrun whose process ends with who it takes for it."""
    flag = str(folder / "flag")
    process = PROCESS.format(flag=flag, launcher=launcher)
    words = [sys.executable, "-c", LAUNCHER, process, flag, kind, str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, timeout=60).returncode


@pytest.mark.parametrize(("kind", "seconds", "status"), [("deaf", 60, -9), ("attentive", 1, 0)])
def test_a_torchrun_that_hangs_is_ended_with_its_process(tmp_path, kind, seconds, status):
    """One that notices the end of the process is left alone."""
    assert launch_and_end(tmp_path, kind, "os.getppid()", seconds) == status


def test_whoever_is_not_the_parent_any_more_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as other:
        assert launch_and_end(tmp_path, "deaf", str(other.pid), 1) == 0
        assert other.poll() is None
        other.kill()
