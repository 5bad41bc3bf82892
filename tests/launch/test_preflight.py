from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes.inputs import of_preflight
from tdn.preflight import links
from tests.launch.slow_network import SWITCH, slow_network
from tests.tdn.preflight.teams import measure_team, network_findings
from tests.videos import write_video

ROOT = Path(__file__).parents[2]
NVIDIA_SMI = """#!/bin/sh
[ "$*" = "-q -x" ] && cat <<'END'
<?xml version="1.0" ?>
<nvidia_smi_log>
  <driver_version>590.11.01</driver_version>
  <gpu id="00000000:3B:00.0">
    <product_name>NVIDIA L4</product_name>
    <fb_memory_usage><total>23034 MiB</total><used>0 MiB</used></fb_memory_usage>
    <compute_mode>Default</compute_mode>
  </gpu>
</nvidia_smi_log>
END
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def start(words, **variables):
    """One node: launch/preflight.py, away from the checkout."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PET_", "TDN_PREFLIGHT"))}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "launch" / "preflight.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **variables},
    )


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_it_tells_what_it_does(word):
    with start([word]) as asked:
        out, errors = asked.communicate(timeout=60)
    assert (asked.returncode, errors) == (0, "")
    assert "TDN_PREFLIGHT_WAIT" in out


def test_two_nodes_of_which_one_has_another_driver(tmp_path, port):
    """Two real nodes but for the second one's driver: examined, compared, measured, told once."""
    command = tmp_path / "other" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(NVIDIA_SMI)
    command.chmod(0o755)
    output = tmp_path / "runs" / "mine"
    words = ["train", "--config", str(ROOT / "configs" / "demo.yaml"), "--output", str(output)]
    write_video(tmp_path / "some.webm")
    (tmp_path / "list.txt").write_text("some.webm 0\nsome.webm 1\n")
    for key in ("train_list", "validation_list"):
        words += [f"--data.{key}", str(tmp_path / "list.txt")]
    words += ["--data.batch_size", "1"]
    words += ["--training.device", "cpu"]  # both nodes would have the same GPU
    told = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "localhost"}
    told |= {"PET_MASTER_PORT": port}
    other_path = f"{command.parent}:{os.environ['PATH']}"
    nodes = [
        start(words, **told, PET_NODE_RANK="0"),
        start(words, **told, PET_NODE_RANK="1", PATH=other_path),
    ]
    (out, errors), (silence, other_errors) = (node.communicate(timeout=200) for node in nodes)
    assert [node.returncode for node in nodes] == [0, 0], out + errors + other_errors
    assert silence == ""
    first, second = (f"{socket.gethostname()}#{number}" for number in range(2))
    (row,) = [line for line in out.splitlines() if "590.11.01" in line]
    assert f"but {first} has" in row
    assert "training can start" in out.splitlines()[-1]
    written = json.loads((output / "preflight.json").read_text())
    assert written["can_start"]
    assert [node["name"] for node in written["nodes"]] == [first, second]
    assert written["nodes"][1]["facts"]["driver"] == "590.11.01"
    (pair,) = written["pairs"]
    assert pair["nodes"] == [first, second]
    taken = of_preflight(output / "preflight.json")  # by benchmarks/scaling.py
    assert taken["link_bandwidth"].number == pair["bytes_per_second"] > 1e6
    assert 0 < taken["link_latency"].number < 1
    assert taken.keys() == {"link_bandwidth", "link_latency"}
    assert {each["processes"] for each in written["sums"]} == {2}
    assert [path.name for path in output.iterdir()] == ["preflight.json"]


def test_a_host_whose_network_is_slow(monkeypatch):
    """Three hosts at a switch, one of which sends at 40 Mbit/s."""
    monkeypatch.setattr(links, "_LONGEST", 0.5)  # larger sums are left out
    with slow_network(slow=1, rate="40mbit") as network:
        enter = {host: functools.partial(network.enter, host) for host in range(3)}
        measured = measure_team([1, 1, 1], enter, SWITCH, network.at_switch)
    ((name, _),) = network_findings(measured)
    assert name == "b"
    # Bytes per second; a burst gets through faster.
    assert measured.bandwidth[0, 1] < 10e6 < measured.bandwidth[0, 2] / 2
