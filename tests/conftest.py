"""What every test gets: its own manifest cache, a process to probe clips, and a core to itself."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

# Set before torch is imported: test processes run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from tdn.pipelines.files.subprocess_workers import Worker
from tdn.pipelines.indexing import probe_workers
from tests.launch import real_clusters

# Set before Triton is imported: without a GPU, its interpreter runs the kernels.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    from tests.interpreter import quicken

    quicken()

# Tests run side by side, on however few cores: examples may take their time.
settings.register_profile("side by side", deadline=None)
settings.load_profile("side by side")

# A shell's background jobs ignore Ctrl-C, those of nohup a lost terminal; so would all they start.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def manifest_cache(tmp_path_factory, monkeypatch):
    """No test sees another's manifests, nor the user's."""
    caches = tmp_path_factory.getbasetemp() / "caches"  # made where one is needed
    monkeypatch.setenv("TDN_CACHE", str(caches / str(next(_numbers))))


@pytest.fixture(scope="session")
def prober() -> Iterator[Worker]:
    """A process that probes clips, from the first one on to the end."""
    with closing(Worker(probe_workers._TASK, probe_workers._TIMEOUT)) as worker:
        yield worker


@pytest.fixture(autouse=True)
def standing_prober(prober: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are probed by one process for all tests: to start one takes longer than its work."""

    def ask(_task: str, requests: Iterable[Any], _workers: int, *, timeout: float):
        for number, request in enumerate(requests):
            yield number, prober.ask(request)

    monkeypatch.setattr(probe_workers, "run_tasks", ask)


@pytest.fixture(autouse=True)
def same_scheduling() -> Iterator[None]:
    """No test makes its process a real-time one, which would take the cores from all others."""
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Sizes that a test compiles for do not become variables in the next, which takes a minute."""
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for clusters come first: meanwhile other workers compute."""
    items.sort(key=lambda item: "launch" not in item.path.parent.name)


def pytest_terminal_summary(terminalreporter):
    """The tests of real clusters that could not run are counted at the end."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    tests = [report for report in reports if isinstance(report, pytest.TestReport)]
    for line in real_clusters.summary(tests):
        terminalreporter.write_line(line)
