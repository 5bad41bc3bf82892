from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import tdn
from tdn.pipelines.files.subprocess_workers import Lost, Worker, run_tasks

CLOCK = "time:sleep"


@pytest.fixture
def ask():
    """Asks a new worker."""
    workers = []

    def asked(task, *requests, timeout=60.0):
        workers.append(Worker(task, timeout))
        return [workers[-1].ask(request) for request in requests]

    yield asked
    for worker in workers:
        worker.close()


def test_answers_are_what_the_task_returns(ask):
    assert ask("math:factorial", 3, 5) == [6, 120]


def test_a_crash_costs_one_request(ask):
    # The task kills its own process when it is asked for signal 9.
    lost, answer = ask("signal:raise_signal", 9, 0)
    assert isinstance(lost, Lost)
    assert "crashes" in lost.cause
    assert answer is None


def test_a_hang_costs_one_request(ask):
    lost, answer = ask(CLOCK, 60, 0, timeout=1.0)
    assert isinstance(lost, Lost)
    assert "stops" in lost.cause
    assert answer is None


def test_a_task_that_shows_signs_of_life_may_take_longer_than_the_timeout(ask):
    # A second between two signs of life, and a timeout that the whole task exceeds.
    assert ask("tests.pipelines.worker_tasks:work", 5.0, timeout=3.0) == ["done"]


def test_a_defect_of_the_task_is_raised(ask):
    with pytest.raises(RuntimeError, match="factorial"):
        ask("math:factorial", -1)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_request_is_answered_once(workers):
    with closing(run_tasks("math:factorial", range(12), workers, timeout=60.0)) as answers:
        found = sorted(answers)
    factorials = [1]
    for number in range(1, 12):
        factorials.append(factorials[-1] * number)
    assert found == list(enumerate(factorials))


def test_no_request_needs_no_worker():
    assert list(run_tasks("math:factorial", [], 2, timeout=60.0)) == []


def test_closing_ends_work_in_progress():
    before = threading.active_count()
    answers = run_tasks(CLOCK, [0, 600, 600, 600], 2, timeout=900.0)
    assert next(answers) == (0, None)
    started = time.monotonic()
    answers.close()
    assert time.monotonic() - started < 300
    assert threading.active_count() == before


def test_an_error_in_the_requests_reaches_the_caller():
    def requests():
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        list(run_tasks("math:factorial", requests(), 2, timeout=60.0))


def test_it_works_from_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from tdn.pipelines.files.subprocess_workers import run_tasks\n"
        "print(list(run_tasks('math:factorial', [4], 1, timeout=60.0)))\n"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(tdn.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, env=here
    )
    assert done.stdout.strip() == "[(0, 24)]"
