"""What launch/node.sh says before anything is started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

NODE = Path(__file__).parents[2] / "launch" / "node.sh"
TRAIN = ("train", "--config", "my.yaml")
PYTHON = """#!/bin/bash
# Has everything, and a preflight that takes its time to end.
case "$*" in
  -c*) exit 0 ;;
  *preflight.py*)
    trap 'sleep 0.3; touch left; exit 143' TERM
    touch examines
    while :; do sleep 0.05; done ;;
esac
echo "started: $*"
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(PYTHON)
    path.chmod(0o755)
    return path


def begin(folder: Path, *words: str, **environment: object) -> subprocess.Popen[str]:
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(NODE.parents[1])}
    given |= {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        [NODE, *words],
        cwd=folder,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *words: str, **environment: object) -> tuple[int, str]:
    process = begin(folder, *words, **environment)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def test_help_is_the_head_of_the_script(tmp_path):
    status, said = run(tmp_path, "--help")
    assert status == 0
    assert said.startswith("What every node")
    assert "Status: 0 done" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TDN_PYTHON": "/gone/python"}, "/gone/python is not there"),
        ({"TDN_PYTHON": "/bin/false"}, "set TDN_PYTHON"),
        ({"TDN_LOGS": "/dev/null/logs"}, "TDN_LOGS: /dev/null/logs"),
        ({"PET_NNODES": "2"}, "PET_RDZV_ENDPOINT"),
        ({"PET_NNODES": "1:2"}, "PET_RDZV_ENDPOINT"),
    ],
)
def test_a_mistake_is_told_in_a_line(tmp_path, stand_in, environment, named):
    status, said = run(tmp_path, *TRAIN, **({"TDN_PYTHON": stand_in} | environment))
    assert status == 2
    assert named in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("fixed", [False, True])
def test_a_port_in_use_is_named_on_the_node_that_needs_it(tmp_path, fixed):
    """Having waited for a former start to end, which is left out here."""
    (tmp_path / "sleep").symlink_to("/bin/true")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        if fixed:
            place = {"PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": port, "PET_NODE_RANK": 0}
        else:
            place = {"PET_RDZV_ENDPOINT": f"localhost:{port}", "PET_RDZV_CONF": "is_host=1"}
        path = f"{tmp_path}:{os.environ['PATH']}"
        settings = {"TDN_PYTHON": sys.executable, "PET_NNODES": 2, "PATH": path}
        status, said = run(tmp_path, *TRAIN, **settings, **place)
    assert status == 2
    assert f"port {port} of {socket.gethostname()} is in use" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_request_during_the_preflight_is_one_that_waits_for_its_end(tmp_path, stand_in, number):
    process = begin(tmp_path, *TRAIN, TDN_PYTHON=stand_in)
    deadline = time.monotonic() + 60
    while not (tmp_path / "examines").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (os.EX_TEMPFAIL, "")
    assert (tmp_path / "left").exists()


def test_a_single_node_meets_itself(tmp_path, stand_in):
    status, said = run(tmp_path, *TRAIN, TDN_PYTHON=stand_in, TDN_PREFLIGHT="off")
    assert status == 0
    assert said.startswith("started: -m tdn.launcher ")
    assert said.endswith(f" -m tdn {' '.join(TRAIN)}\n")
