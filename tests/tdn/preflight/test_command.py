from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tdn.doctor.findings import fail, ok
from tdn.preflight import command, first
from tdn.preflight.cluster import Cluster
from tdn.preflight.node import NodeReport
from tdn.preflight.roll_call import call
from tdn.training.processes.board import Board

LISTS = ["--data.train_list", "some.txt", "--data.validation_list", "others.txt"]
WORDS = ["train", "--config", "configs/demo.yaml", *LISTS, "--output"]


class FakeWorkers:
    """Start nothing: what the other node of these tests does is all there is."""

    def __init__(self, _count):
        self.plans = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def begin(self, plan):
        self.plans.append(plan)

    def ended(self):
        return {0: -9} if self.plans else {}


@pytest.fixture
def alone(monkeypatch):
    """This process is the first of two nodes, whose own machine is well and quickly examined."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    for name in ("LOCAL_RANK", "GROUP_RANK", "PET_RDZV_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    told = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "localhost"}
    told |= {"PET_MASTER_PORT": str(port), "PET_NODE_RANK": "0"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(command, "EXAMINE", 0.3)
    monkeypatch.setattr(command, "LIMIT", 0.3)
    monkeypatch.setattr(command, "MEASURE", 0.5)
    monkeypatch.setattr(command, "_MARGIN", 0.3)
    monkeypatch.setattr(first, "_ALIVE", 0.3)
    monkeypatch.setattr(first, "_AFTERMATH", 0.1)
    monkeypatch.setattr(command, "Workers", FakeWorkers)
    monkeypatch.setattr(command, "examine_node", lambda *_: report(ok("dali", "runs")))
    former = signal.getsignal(signal.SIGTERM)
    yield Cluster(2, 2, 1, "localhost", port, node=1, keeps_store=False)
    signal.signal(signal.SIGTERM, former)


def report(*findings):
    return NodeReport(1, 0, list(findings), {"torch": "2.13.0"})


class OtherNode:
    """The second node, in a thread, which says what it is told to and no more."""

    def __init__(self, cluster, says=None):
        self._cluster, self._says = cluster, says
        self.read = {}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._thread.join()

    def _run(self):
        board = call(self._cluster, 20, print).board
        if self._says is not None:
            board.write("node 1", json.dumps(self._says.to_dict()))
        for key in ("plan", "verdict"):
            self.read[key] = board.read(key, wait=20)
        board.write("bye 1", "")


def test_a_silent_node_ends_it_with_its_name(alone, tmp_path, capsys):
    with OtherNode(alone) as other:
        assert command.main([*WORDS, str(tmp_path)]) == 1
    assert other.read == {"plan": "", "verdict": "1"}
    name = f"{socket.gethostname()}#1"
    assert f"because of {name};" in capsys.readouterr().out
    written = json.loads((tmp_path / "preflight.json").read_text())
    assert not written["can_start"]
    assert [finding["node"] for finding in written["findings"]] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["preflight.json"]


def test_a_failed_check_ends_it_without_measuring(alone, capsys):
    with OtherNode(alone, report(fail("driver", "is old", "update it"))) as other:
        assert command.main([]) == 1
    assert other.read["plan"] == ""
    out = capsys.readouterr().out
    assert "is old" in out
    assert "update it" in out


def test_links_that_fail_end_it(alone, capsys):
    with OtherNode(alone, report()) as other:
        assert command.main([]) == 1
    assert json.loads(other.read["plan"])["backend"] == "gloo"
    assert f"{socket.gethostname()}#1" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_changes_nothing(alone, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with OtherNode(alone, report(fail("output", "is a file", "choose another"))) as other:
        assert command.main([*WORDS, str(tmp_path / "file")]) == 1
    assert other.read["verdict"] == "1"
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


def test_all_is_written_when_others_go_on(alone, tmp_path, monkeypatch):
    write, written = Board.write, []

    def note(board, key, text):
        if key == "verdict":
            written.extend(tmp_path.glob("preflight.json"))
        write(board, key, text)

    monkeypatch.setattr(Board, "write", note)
    with OtherNode(alone, report(fail("driver", "is old", "update it"))):
        assert command.main([*WORDS, str(tmp_path)]) == 1
    assert written == [tmp_path / "preflight.json"]


@pytest.mark.parametrize("says", ["nothing", "a plan and no verdict"])
def test_a_first_node_that_is_lost_is_no_mistake(alone, says, monkeypatch, capsys):
    """Nobody mends what was given: the next start may find the node back."""
    monkeypatch.setenv("PET_NODE_RANK", "1")
    monkeypatch.setattr(command, "MEASURE", 0.1)

    def leave():
        roll = call(alone._replace(node=0, keeps_store=True), 20, print)
        kept.append(roll)
        if says != "nothing":
            roll.board.write("plan", "")

    kept = []
    first_node = threading.Thread(target=leave)
    first_node.start()
    assert command.main([]) == 1
    first_node.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{socket.gethostname()}#0" in line


def test_one_process_of_a_node_speaks_for_it(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert command.main(["no such command"]) == 0


@pytest.mark.parametrize(
    ("words", "variables", "named"),
    [
        (["trian"], {}, "trian"),
        (["train", "--config", "x.yaml", "--profile"], {}, "--profile"),
        (["train", "--config", "configs/demo.yaml"], {}, "data.train_list"),
        (["train", "--config", "configs/demo.yaml", *LISTS[:2]], {}, "data.validation_list"),
        ([], {"PET_NNODES": "many"}, "PET_NNODES"),
        ([], {"TDN_PREFLIGHT_WAIT": "long"}, "TDN_PREFLIGHT_WAIT"),
        ([], {"TDN_PREFLIGHT_WAIT": "nan"}, "TDN_PREFLIGHT_WAIT"),
        ([], {"TDN_PREFLIGHT_WAIT": "0"}, "TDN_PREFLIGHT_WAIT"),
    ],
)
def test_mistakes_are_one_line(alone, words, variables, named, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert command.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


def test_a_node_that_does_not_come(alone, monkeypatch, capsys):
    monkeypatch.setenv("TDN_PREFLIGHT_WAIT", "0.3")
    assert command.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "1 of 2 nodes" in line
    assert socket.gethostname() in line


def test_workers_end_with_the_process_that_started_them():
    worker = subprocess.Popen([sys.executable, "-m", "tdn.preflight.worker"], stdin=subprocess.PIPE)
    worker.stdin.close()
    assert worker.wait(60) == 0


def test_a_worker_that_is_ended_is_noticed():
    from tdn.preflight.workers import Workers

    with Workers(2) as workers:
        assert workers.ended() == {}
        workers._processes[1].kill()
        deadline = time.monotonic() + 10
        while not workers.ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert workers.ended() == {1: -signal.SIGKILL}
    assert set(workers.ended()) == {0, 1}
