from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import torch.distributed as dist

from tdn.doctor.driver import Driver, Gpu
from tdn.doctor.gpu_health import Health
from tdn.preflight import devices, worker
from tdn.preflight.devices import DeviceSpeed
from tdn.preflight.worker import Plan, measure
from tests.tdn.preflight.teams import meet


@pytest.fixture
def left():
    """The group is left after the test."""
    yield
    dist.destroy_process_group()


def test_clocks_are_looked_at_while_the_device_computes(monkeypatch, left):
    hot = Gpu("H100", "", 0, 0, False, 0, "", 0, "", Health(slowed=("heat",)))
    seen = [Driver(gpus=(hot,)), Driver()]
    monkeypatch.setattr(worker.driver, "look", lambda: seen.pop(0))

    def compute(_device, meanwhile):
        meanwhile()
        return DeviceSpeed("H100", 1.0, 1.0, 1.0)

    monkeypatch.setattr(devices, "measure", compute)
    store, _ = meet()
    result = measure(Plan("gloo", "localhost", store.port, "", ("a",), (1,), 20.0), store)
    assert result["slowed"] == [("heat",)]


def test_a_worker_that_nobody_answers_ends_with_a_line():
    """As where the first node is stopped, or another program listens."""
    with socket.create_server(("localhost", 0)) as silent:
        port = silent.getsockname()[1]
        plan = Plan("gloo", "localhost", port, "", ("a",), (1,), 0.5)
        words = [sys.executable, "-m", "tdn.preflight.worker"]
        pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
        with subprocess.Popen(words, text=True, **pipes) as process:
            process.stdin.write(plan.to_json() + "\n")
            process.stdin.flush()  # and stays open: the worker would end with it
            (line,) = process.stderr.read().splitlines()
    assert process.returncode == 1
    assert f"localhost:{port}" in line
