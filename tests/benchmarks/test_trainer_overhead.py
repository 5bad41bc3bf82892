from __future__ import annotations

import torch

from benchmarks import trainer_overhead
from benchmarks.harness.rows import read_results
from benchmarks.trainer_overhead import Cost, Turns, main, summary

LOOPS = ("trainer", "bare")


def test_the_run_is_compared_with_the_bare_turns_beside_it():
    """The machine gets slower; the first turns warm up; one turn of the run was disturbed."""
    turns = Turns(lambda: None, steps=1, device="cpu")
    turns.bare = [Cost(time, time / 2) for time in (500.0, 100.0, 200.0, 300.0, 400.0)]
    turns.trainer = [Cost(time, time / 2) for time in (900.0, 153.0, 255.0, 3570.0)]
    found = summary(turns)
    assert found["time_overhead_percent"] == found["cpu_overhead_percent"] == 2.0
    assert found["time_ms_bare"] == 250.0
    assert found["cpu_ms_trainer"] == 127.5
    assert found["time_overhead_error"] > 100


def test_both_loops_take_as_many_steps_and_the_bare_one_s_time_is_not_the_run_s(monkeypatch):
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(trainer_overhead.time, "perf_counter", lambda: now)
    monkeypatch.setattr(trainer_overhead.time, "process_time", lambda: now)
    turns = Turns(lambda: work(0.5), steps=4, device="cpu")
    for _ in range(3):
        turns.change()
        work(4.0)
    assert turns.bare == [(500.0, 500.0)] * 3
    assert turns.trainer == [(1000.0, 1000.0)] * 2


def test_several_processes_are_started(tmp_path, monkeypatch):
    """What they measure is in tests/tdn/training/processes/test_distributed.py."""
    output = tmp_path / "row.jsonl"
    commands = []

    def torchrun(command, check, env):
        commands.append(command)
        assert "OMP_NUM_THREADS" in env  # or torchrun says so

    monkeypatch.setattr(trainer_overhead.subprocess, "run", torchrun)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    words = ["--processes", "2", "--output", str(output)]
    assert main(words) == 0
    (command,) = commands
    assert command[3:] == [
        "--standalone", "--nproc-per-node", "2", trainer_overhead.__file__, *words
    ]  # fmt: skip


def test_a_row_of_the_demo_s_network(tmp_path):
    """Weights that a recipe names need not be there."""
    output, recipe = tmp_path / "results.jsonl", tmp_path / "recipe.yaml"
    demo = (trainer_overhead.ROOT / "configs" / "demo.yaml").read_text()
    recipe.write_text(demo.replace("model:\n", "model:\n  pretrained: nowhere.pth\n"))
    threads = str(torch.get_num_threads())
    words = ["--rounds", "2", "--steps", "2", "--threads", threads, "--output", str(output)]
    words += ["--config", str(recipe)]
    assert main(words) == 0
    (result,) = read_results(output)
    row = result.row
    assert (row["model"], row["rounds"], row["processes"]) == ("tdn_resnet10", 2, 1)
    assert min(row[f"{kind}_ms_{who}"] for kind in Cost._fields for who in LOOPS) > 0
    assert {"device", "commit", "date"} <= set(result.where)
