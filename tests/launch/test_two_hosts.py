"""A real training across two hosts, whose link is cut and of which one is turned off.

It must come to the same end as one on a single host that nothing happens to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.forks import python_that_forks
from tests.launch import namespaces
from tests.launch.two_hosts import NAMES, TwoHosts, two_hosts
from tests.tdn.training.kill_trials import CONFIG, STEPS, assert_same_end, make_videos
from tests.tdn.training.runs import events

ROOT = Path(__file__).parents[2]
EPOCHS = 6
SOME = 3
"""Steps between one mishap and the next: few, so that the run is not over before the last."""
TIME_LIMIT = 120
"""Seconds for anything."""


class Launch:
    """A command that was started, and what it says."""

    def __init__(self, words: list[str | Path], output: Path, **settings: str) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                words,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=_environment(output.parent) | settings,
            )

    def ends(self, *statuses: int) -> str:
        """Wait until it does, with one of these statuses; what it said."""
        status = self.process.wait(TIME_LIMIT)
        assert status in statuses, self.says()
        return self.says()

    def says(self) -> str:
        """What it has said up to now."""
        return self.output.read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIME_LIMIT
        while not condition():
            assert self.process.poll() is None, self.says()
            assert time.monotonic() < deadline, self.says()
            time.sleep(0.02)

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _environment(folder: Path) -> dict[str, str]:
    """No other launch's, and for both hosts the same."""
    cluster = ("PET_", "TDN_", "RANK", "WORLD_SIZE", "MASTER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(cluster)}
    return kept | {
        "OMP_NUM_THREADS": "1",
        "TDN_PYTHON": str(python_that_forks(folder)),
        "TDN_PREFLIGHT": "off",
        "TDN_CACHE": str(folder / "cache"),
        "TDN_LOGS": str(folder / "logs"),
    }


class Run:
    """A run of two processes, in a folder of its own."""

    def __init__(self, folder: Path, videos: Path, hosts: TwoHosts) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.hosts = hosts
        self._config = folder / "config.yaml"
        text = CONFIG.replace("LIST", f"'{videos}'").replace("OUTPUT", f"'{self.run}'")
        self._config.write_text(text.replace("EPOCHS", str(EPOCHS)))
        self._command = ("train", "--config", self._config)
        self._torchrun = (ROOT / "launch/torchrun.sh", "--hosts", ",".join(NAMES), "--id", "run")

    def lose_patience(self) -> None:
        """Whatever is started from now on misses a host after some seconds."""
        text = self._config.read_text()
        self._config.write_text(text.replace("training: {", "training: {host_timeout: 8, "))

    def on_one_host(self) -> Launch:
        """Start it on this one."""
        return self._launch([ROOT / "launch/node.sh", *self._command], PET_NPROC_PER_NODE="2")

    def by_ssh(self) -> Launch:
        """Start it on both hosts, from elsewhere; it starts again once."""
        words = [*self._torchrun, "--grace", str(TIME_LIMIT), *self._command]
        return self._launch(words, TDN_SSH=str(self.hosts.ssh), PET_MAX_RESTARTS="1")

    def by_hand(self, place: int) -> Launch:
        """Start one host's part, on it."""
        words = [*self._torchrun, "--node", str(place), *self._command]
        return self._launch(self.hosts.words(place, *words), PET_MAX_RESTARTS="0")

    def _launch(self, words: list[str | Path], **settings: str) -> Launch:
        number = len(list(self.folder.glob("*.txt")))
        return Launch(words, self.folder / f"{number}.txt", **settings)

    def goes_on(self, launch: Launch) -> None:
        """Wait for some more steps; the last ones are far."""
        step = self._saved() + SOME
        launch.wait_for(lambda: self._saved() >= step)
        assert step < EPOCHS * STEPS

    def _saved(self) -> int:
        """The step of the newest checkpoint but one."""
        names = [path.stem for path in (self.run / "checkpoints").glob("step-*.pt")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def leaves_nothing(self) -> None:
        """Wait until no process of it is left."""
        deadline = time.monotonic() + 30
        while self.hosts.processes(0) + self.hosts.processes(1):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    with two_hosts(tmp_path) as hosts:
        yield hosts


@pytest.fixture
def runs(tmp_path: Path, hosts: TwoHosts) -> tuple[Run, Run]:
    """One across both hosts, and the same again."""
    videos = make_videos(tmp_path / "videos")
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    return Run(tmp_path / "two", videos, hosts), Run(tmp_path / "one", videos, hosts)


KILLED = """
import os, sys
from pathlib import Path
from tests.launch.two_hosts import two_hosts
with two_hosts(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""


def test_the_hosts_of_a_test_that_was_killed_do_not_stay(hosts, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT)
    assert process.wait(TIME_LIMIT) == -signal.SIGKILL
    deadline = time.monotonic() + TIME_LIMIT
    while namespaces.those_of(f"tdn-{process.pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert namespaces.those_of(f"tdn-{os.getpid()}")


@pytest.mark.timeout(450)  # a minute, half of it waiting, on a machine that has nothing else to do
def test_a_run_outlives_cuts_and_the_loss_of_a_host(runs):
    """And whoever is lost is named on the other side."""
    run, whole = runs
    with run.by_ssh() as launch:
        outlive_a_cut_of_20_seconds(run, whole, launch)
        with take_a_host_back(run, launch) as returned:
            name_the_lost_host_on_either_side(run, launch, returned)
    with run.by_ssh() as launch:
        launch.ends(0)
    assert_same_end(*(SimpleNamespace(run=each.run) for each in runs))
    sessions = [event["step"] for event in events(run.run, "start")]
    assert len(sessions) == 3
    assert sessions == sorted(set(sessions))


def outlive_a_cut_of_20_seconds(run: Run, whole: Run, launch: Launch) -> None:
    """Meanwhile the other run is trained without a mishap."""
    run.goes_on(launch)
    run.hosts.cut()
    cut_at = time.monotonic()
    with whole.on_one_host() as undisturbed:
        undisturbed.ends(0)
    time.sleep(max(0.0, cut_at + 20 - time.monotonic()))
    run.hosts.mend()
    run.goes_on(launch)
    assert "tdn: " not in launch.says()


@contextmanager
def take_a_host_back(run: Run, launch: Launch) -> Iterator[Launch]:
    """The second host is turned off, and on again; the first one waits for it."""
    run.lose_patience()
    run.hosts.kill(1)
    told = f"another process on host {NAMES[1]} ended without a word"
    launch.wait_for(lambda: told in launch.says())
    with run.by_hand(1) as returned:
        run.goes_on(returned)
        yield returned


def name_the_lost_host_on_either_side(run: Run, launch: Launch, returned: Launch) -> None:
    """The link is cut for good. Both end by themselves."""
    run.hosts.cut()
    said = returned.ends(os.EX_NOHOST, -signal.SIGKILL, 128 + signal.SIGKILL)
    launch.ends(128 + signal.SIGKILL)  # of the host that failed first
    for words, other in ((said, NAMES[0]), (launch.says(), NAMES[1])):
        lines = [line for line in words.splitlines() if f"lost host {other}" in line]
        assert len(lines) == 1, words
    run.leaves_nothing()
    run.hosts.mend()
