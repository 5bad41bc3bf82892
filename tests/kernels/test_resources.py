"""What the compiler makes of the kernels: no spills, wide loads, few launches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tdn.kernels import resources
from tdn.kernels.compilation import Load, Usage


def run(*arguments):
    """The command in a process of its own, where Triton is not interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", "-m", "tdn.kernels.resources", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("operation", resources.OPERATIONS)
def test_no_kernel_spills_or_loads_in_narrow_pieces(operation, tmp_path):
    table = tmp_path / "table.jsonl"
    options = ["--jobs", "1", "--output", str(table), "--operations", operation, "--few"]
    options += ["--types", "float32", "bfloat16"]  # float16 compiles like bfloat16
    done = run(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert {row["case"]["capability"] for row in rows} == {80, 90}
    assert {row["case"]["type"] for row in rows} == {"float32", "bfloat16"}
    assert all(0 < row["usage"]["registers"] <= 255 for row in rows)


@pytest.mark.parametrize("wrong", [["--output", "/nowhere/table.jsonl"], ["--jobs", "0"]])
def test_wrong_options(wrong):
    done = run(*wrong)
    assert done.returncode == 2
    assert wrong[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_interpreted_kernels_are_refused():
    command = [sys.executable, "-m", "tdn.kernels.resources"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Usage(255, 8, 0, ()),
        Usage(32, 0, 0, (Load("x", 2, 16),)),
    ],
    ids=["spill", "narrow load"],
)
def test_exit_status_of_what_is_wrong(wrong, monkeypatch, capsys):
    case = resources.Case("fusion", 64, 56, "float16", "channels_last", 90)
    right = resources.Row(case, "kernel", Usage(32, 0, 0, (Load("x", 16, 16),)))
    assert resources.judged([right]) == 0
    assert resources.judged([right, replace(right, usage=wrong)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_launches_of_a_block():
    """In training, besides convs: the update of running statistics adds three to the forward."""
    case = resources.Case("long-term", 128, 28, "bfloat16", "channels_last", 90)
    names = [launch.kernel.__name__ for launch in resources.launches(case)]
    training = names[: names.index("_maps_gradient_kernel") + 1]
    forward = training[: training.index("_gated_mix_kernel") + 1]
    assert len(forward) <= 9
    assert len(training) - len(forward) <= 14
