"""The launcher with real processes, which do what those of a training may do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

TIME_LIMIT = 60
WORKER = """
import os, signal, sys, time
from pathlib import Path

if sys.argv[1] == "first-node":
    while len(list(Path(sys.argv[2]).glob("*once.ready"))) < 2:
        time.sleep(0.02)
    sys.exit(75)
what, note = sys.argv[1], Path(sys.argv[2], os.environ["RANK"] + sys.argv[1])
main = os.environ["RANK"] == "0"
asked = 0

def ask(*_):
    global asked
    asked += 1
    note.with_suffix(f".asked-{asked}").touch()

signal.signal(signal.SIGTERM, ask)
signal.signal(signal.SIGUSR2, ask)
print(what, flush=True)
if what == "mistake":
    sys.exit(2)
if what == "crash" and not main:
    os.kill(os.getpid(), signal.SIGKILL)
note.with_suffix(".ready").touch()
while asked < (2 if what == "twice" else 1) and (main or what != "elsewhere"):
    time.sleep(0.02)
if main:
    time.sleep(0.3)
    print("saved", flush=True)
sys.exit(75)
"""


class Launches:
    """Launches of two processes each, in one folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        (folder / "worker.py").write_text(WORKER)

    def start(self, what: str, *words: str) -> subprocess.Popen[str]:
        """Start one whose processes do this."""
        script = self._folder / "worker.py"
        options = (
            *("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={what}"),
            *("--nproc-per-node=2", "--max-restarts=1", f"--log-dir={self._folder}", "--tee=3"),
            *("--signals-to-handle=SIGTERM,SIGINT,SIGUSR2", "--local-ranks-filter=0"),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "tdn.launcher", *options, *words, script, what, self._folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self._stack.callback(process.kill)
        return process

    def wait_for(self, *names: str) -> None:
        """Until the processes have left these notes."""
        deadline = time.monotonic() + TIME_LIMIT
        while not all((self._folder / name).exists() for name in names):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def launches(tmp_path: Path) -> Iterator[Launches]:
    with ExitStack() as stack:
        yield Launches(tmp_path, stack)


def end(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    said, _ = process.communicate(timeout=TIME_LIMIT)
    return process.returncode, said.replace("[default0]:", "").splitlines()


def test_a_launch_ends_as_its_processes_do(launches):
    """It starts again what may go better then, and adds nothing to what they tell themselves."""
    mistake, crash, elsewhere, twice = map(
        launches.start, ("mistake", "crash", "elsewhere", "twice")
    )
    launches.wait_for("0twice.ready", "1twice.ready")
    twice.send_signal(signal.SIGUSR2)
    launches.wait_for("0twice.asked-1", "1twice.asked-1")
    twice.send_signal(signal.SIGTERM)
    assert end(twice) == (75, ["twice", "saved"])
    assert end(mistake) == (2, ["mistake"])
    assert end(elsewhere) == (75, ["elsewhere", "saved"])  # the request came to another node
    status, said = end(crash)
    assert status == 128 + signal.SIGKILL
    assert said.count("crash") == 2
    first, second = (line for line in said if line.startswith("node.sh"))
    assert "SIGKILL" in first
    assert "starting again, 1 of 1" in first
    assert "starting again" not in second


def test_a_node_that_the_first_one_leaves_ends_as_its_processes_do(launches):
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
    place = ("--nnodes=2", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=pair")
    first = launches.start("first-node", *place, "--rdzv-conf=is_host=1")
    second = launches.start("once", *place, "--rdzv-conf=is_host=0")
    assert end(first) == (75, [])
    status, said = end(second)
    assert status == 75
    assert set(said) <= {"once", "saved"}
