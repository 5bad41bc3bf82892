"""What the compiler makes of the kernels: no spills, wide loads, few launches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product

import pytest

from benchmarks import resources
from benchmarks.operations.compilation import Load, Usage


def test_no_kernel_spills_or_loads_in_narrow_pieces(tmp_path):
    """By the command's status, in a process of its own, where Triton is not interpreted."""
    table = tmp_path / "table.jsonl"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.resources", "--jobs", "1"]
    command += ["--few", "--output", str(table)]
    command += ["--types", "float32", "bfloat16"]  # float16 compiles like bfloat16
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert all(0 < row["usage"]["registers"] <= 255 for row in rows)
    cases = [row["case"] for row in rows]
    seen = {(case["operation"], case["capability"], case["type"]) for case in cases}
    assert seen == set(product(resources.OPERATIONS, (80, 90), ("float32", "bfloat16")))


@pytest.mark.parametrize("wrong", [["--output", "/nowhere/table.jsonl"], ["--jobs", "0"]])
def test_wrong_options(wrong, monkeypatch, capsys):
    monkeypatch.setattr(resources, "INTERPRETING", False)
    try:
        status = resources.main(wrong)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert wrong[0] in capsys.readouterr().err


def test_interpreted_kernels_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(resources, "INTERPRETING", True)
    assert resources.main([]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


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
