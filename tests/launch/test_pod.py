"""What a pod runs, and the probe that looks after it, with a stand-in for node.sh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tdn.training.watching.heartbeat import Heartbeat
from tests.launch.manifests import LAUNCH, task

STOPPED = os.EX_TEMPFAIL


class Pod:
    """The scripts in an image of their own, and a run folder.

    Args:
        folder: For both.
    """

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        self.marker = self.run / "interrupted.json"
        self.heartbeat = folder / "heartbeat"
        self._launch = folder / "launch"
        shutil.copytree(LAUNCH / "kubernetes", self._launch / "kubernetes")
        self._script(folder / "bin" / "sleep", "exec true")
        self._environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "TDN_HEARTBEAT": str(self.heartbeat),
        }

    def start(self, node: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start the pod; node is what node.sh does."""
        self._script(self._launch / "node.sh", node)
        script = self._launch / "kubernetes" / "pod.sh"
        return subprocess.Popen(
            [script, "train", *(words or (f"--output={self.run}",))],
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, node: str, *words: str, **environment: str) -> tuple[int, str]:
        """Its status and what it prints."""
        with self.start(node, *words, **environment) as process:
            output = process.communicate(timeout=20)[0]
        return process.returncode, output

    def alive(self) -> tuple[int, str]:
        """The probe's status and what it prints."""
        script = self._launch / "kubernetes" / "alive.sh"
        done = subprocess.run([script], env=self._environment, capture_output=True, text=True)
        return done.returncode, done.stdout

    @staticmethod
    def _script(path: Path, text: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def pod(tmp_path) -> Pod:
    return Pod(tmp_path)


def test_node_sh_gets_the_arguments_and_its_status_counts(pod):
    status, output = pod.end('echo "$*" "$PET_NPROC_PER_NODE" "$TDN_LOGS"')
    assert (status, output) == (0, f"train --output={pod.run} gpu {pod.run}/logs\n")
    assert pod.end("exit 3")[0] == 3
    assert pod.end("exit 68")[0] == 68
    assert pod.end("kill -KILL $$")[0] == 128 + signal.SIGKILL


def test_the_run_folder_may_be_a_word_of_its_own(pod):
    words = ("--config", "a.yaml", "--output", str(pod.run), "--seed=1")
    assert pod.end(f"touch {pod.marker}; exit 1", *words)[0] == STOPPED


@pytest.mark.parametrize(("given", "told"), [("auto", "gpu"), ("4", "4")])
def test_the_operators_word_for_all_gpus_becomes_torchruns(pod, given, told):
    assert pod.end('echo "$PET_NPROC_PER_NODE"', PET_NPROC_PER_NODE=given)[1] == f"{told}\n"


def test_a_run_that_was_asked_to_stop_is_told_from_one_that_failed(pod):
    assert pod.end(f"touch {pod.marker}; exit 1")[0] == STOPPED
    # The marker of that stop is still there when nodes are examined and one is broken.
    assert pod.end("exit 1")[0] == 1
    assert pod.end(f"rm {pod.marker}; exit 1")[0] == 1
    pod.marker.touch()
    written_again = f"touch {pod.marker}.new; mv {pod.marker}.new {pod.marker}"
    assert pod.end(f"{written_again}; exit 1")[0] == STOPPED
    assert pod.end("true")[0] == 0


def test_a_mistake_is_told_at_once_whatever_a_former_stop_has_left(pod):
    pod.marker.touch()
    assert pod.end(f"touch {pod.marker}.new; mv {pod.marker}.new {pod.marker}; exit 2")[0] == 2
    assert pod.end(f"exit {STOPPED}")[0] == STOPPED


def test_a_signal_reaches_the_node_and_is_waited_for(pod):
    node = "trap 'echo saved; exit 1' TERM; echo began; while :; do /bin/sleep 0.1; done"
    with pod.start(node) as process:
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[0]
    assert (process.returncode, output) == (STOPPED, "saved\n")


def test_without_a_run_folder_nothing_starts(pod):
    status, output = pod.end("echo started", "--config=a.yaml")
    assert status == 2
    assert "--output" in output
    assert "started" not in output


def test_who_is_silent_for_minutes_is_not_alive(pod, monkeypatch):
    assert pod.alive() == (0, "")
    pod.heartbeat.mkdir()
    assert pod.alive() == (0, "")
    monkeypatch.setenv("TDN_HEARTBEAT", str(pod.heartbeat))
    heart = Heartbeat()
    heart.beat()
    assert pod.alive() == (0, "")
    [file] = pod.heartbeat.iterdir()
    long_ago = time.time() - 400
    os.utime(file, (long_ago, long_ago))
    status, told = pod.alive()
    assert status == 1
    assert str(os.getpid()) in told
    heart.beat()
    assert pod.alive() == (0, "")
    heart.stop()
    assert list(pod.heartbeat.iterdir()) == []


def test_who_has_ended_is_not_missed(pod):
    with subprocess.Popen(["true"]) as ended:
        pass
    pod.heartbeat.mkdir()
    (pod.heartbeat / str(ended.pid)).touch()
    os.utime(pod.heartbeat / str(ended.pid), (0, 0))
    assert pod.alive() == (0, "")
    # A container that starts again counts its processes from one, too.
    assert pod.end(f"ls {pod.heartbeat}") == (0, "")


@pytest.mark.parametrize(("rank", "host"), [(0, "is_host=1"), (1, "is_host=0")])
def test_skypilots_variables_become_torchruns(tmp_path, rank, host):
    Pod._script(tmp_path / "launch" / "node.sh", 'env; echo "arguments: $*"')
    sky = {
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": str(rank),
        "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8",
        "SKYPILOT_TASK_ID": "sky-managed-1_tdn_1-0",
        "PATH": os.environ["PATH"],
        **task()["envs"],
    }
    command = ["bash", "-euo", "pipefail", "-c", task()["run"]]
    output = subprocess.check_output(command, cwd=tmp_path, env=sky, text=True)
    assert set(output.splitlines()) >= {
        "PET_NNODES=2",
        "PET_RDZV_BACKEND=c10d",
        "PET_RDZV_ENDPOINT=10.0.0.7:29400",
        f"PET_RDZV_CONF={host}",
        "PET_RDZV_ID=sky-managed-1_tdn_1-0",
    }
    assert f"--output /runs/{task()['envs']['RUN']}" in output
