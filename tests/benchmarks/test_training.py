from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import training
from benchmarks.clips.data import JPEG, MEMORY, SHORT_GOP
from benchmarks.harness.rows import Result, read_results
from benchmarks.steps import end_to_end, losses, measurement, peers, session, trainee
from benchmarks.steps.limits import Budget, TooLongError, limited
from benchmarks.steps.losses import LossCheck
from benchmarks.steps.measurement import Race
from benchmarks.steps.memory import peak
from benchmarks.steps.peers import COMPILED, ON_CPU, OURS, PLAIN, StepSize, make_step, take_turn
from benchmarks.steps.trainee import take_turns

CPU = torch.device("cpu")
TINY = StepSize("tdn_resnet10", 2, 48, 1)
WORDS = ("--sizes", "tdn_resnet10,2,48,1", "--rounds", "2", "--threads", "1")
OPTIONS = argparse.Namespace(rounds=1, steps=1)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    output = tmp_path_factory.mktemp("training") / "rows.jsonl"
    assert training.main([*WORDS, "--parts", "steps", "roofline", "--output", str(output)]) == 0
    return read_results(output)


def test_all_peers_train_the_same_network(results):
    rows = [result.row for result in results if result.benchmark == "training"]
    assert [row["peer"] for row in rows] == [peer.name for peer in ON_CPU]
    for row in rows:
        assert row["losses"] == pytest.approx(rows[0]["losses"], abs=1e-3)
        assert row["losses"][0] - row["losses"][-1] > 0.1
        parts = [row[f"{part}_ms"] for part in trainee.PARTS]
        assert min(parts) > 0
        assert row["ms_low"] <= row["ms"] <= row["ms_high"]
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["clips_per_s"] == pytest.approx(1e3 / row["ms"], rel=1e-2)
    assert rows[0]["ratio"] == rows[0]["cpu_ratio"] == 1


def test_gaps_belong_to_operators_of_the_step(results):
    rows = [result.row for result in results if result.benchmark == "roofline"]
    for peer in (PLAIN.name, OURS.name):
        whole, *gaps = [row for row in rows if row["peer"] == peer]
        assert whole["operator"] == "all"
        assert len(gaps) == 3
        assert all(gap["operator"].startswith("aten.") for gap in gaps)
        assert sum(gap["ms"] for gap in gaps) <= whole["operators_ms"]
        assert whole["ms_low"] <= whole["ms"] <= whole["ms_high"]
        shares = [gap["gap_percent_of_step"] for gap in gaps]
        assert shares == sorted(shares, reverse=True)


def test_a_peer_that_trains_another_network_is_wrong(tmp_path, monkeypatch, capsys):
    def other(peer, size, device, backwards=False):
        step = make_step(peer, size, device, backwards)
        if peer.ours:
            nn.init.normal_(step._parameters[-2])
        return step

    monkeypatch.setattr(losses, "make_step", other)
    output = tmp_path / "rows.jsonl"
    assert training.main([*WORDS, "--parts", "steps", "--output", str(output)]) == 1
    rows = read_results(output)
    ours = next(row for row in rows if row.case["peer"] == OURS.name)
    assert "step 1" in ours.values["wrong"]
    assert "ms" not in ours.values
    assert "wrong: loss" in capsys.readouterr().out


def test_a_step_that_learns_something_else_is_wrong():
    """Half the learning rate: the first loss is right."""
    check = LossCheck(TINY, CPU)
    half = [check.reference[0]]
    half += [(one + two) / 2 for one, two in itertools.pairwise(check.reference)]
    assert check.problem(check.reference, "fp32") is None
    assert "step 2" in check.problem(half, "fp32")


def test_losses_are_of_several_clips_which_no_network_knows_by_heart_at_once():
    sizes = [dataclasses.replace(TINY, clips=clips) for clips in (1, 16)]
    assert [LossCheck(size, CPU).size.clips for size in sizes] == [4, 16]


def test_nobody_is_judged_where_the_reference_fails(monkeypatch):
    def failing(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(losses, "make_step", failing)
    race = Race(TINY, CPU, OPTIONS, LossCheck(TINY, CPU))
    *_, rows = race.rows(ON_CPU, Budget(100))
    assert all("reference of the losses failed" in row["error"] for row in rows)
    failed = Result("training", {"peer": PLAIN.name}, {"error": "no memory"}, {})
    assert not training.is_good([failed])


def test_a_peer_that_fails_or_has_no_time_does_not_end_the_run(monkeypatch):
    def failing(peer, size, device, backwards=False):
        if peer.name == COMPILED.name:
            raise RuntimeError("no compiler\nat all")
        if peer.name == "slow":
            time.sleep(60)
        return make_step(peer, size, device, backwards)

    monkeypatch.setattr(trainee, "make_step", failing)
    plain, compiled, ours = (peer.without_gpu() for peer in (PLAIN, COMPILED, OURS))
    slow = dataclasses.replace(compiled, name="slow")
    check = LossCheck(TINY, CPU)
    *_, rows = Race(TINY, CPU, OPTIONS, check).rows((plain, compiled, ours), Budget(100))
    assert [row.get("error") for row in rows] == [None, "RuntimeError: no compiler", None]
    assert rows[2]["ratio"] > 0
    *_, rows = Race(TINY, CPU, OPTIONS, check).rows((slow,), Budget(0.2))
    assert "TooLongError" in rows[0]["error"]
    race = Race(TINY, CPU, OPTIONS, check)
    *_, rows = race.rows((plain, compiled, ours), Budget(-1), needed={ours.name})
    assert ["left_out" in row for row in rows] == [True, True, False]
    assert rows[2]["ms"] > 0


def test_rows_are_there_after_each_round_and_who_fails_leaves_the_others_theirs(monkeypatch):
    class Failing(trainee.Trainee):
        def turn(self, steps):
            if self.peer.ours and self.times.ms:
                raise RuntimeError("no memory")
            super().turn(steps)

    monkeypatch.setattr(measurement, "Trainee", Failing)
    plain, ours, other = ON_CPU
    other = dataclasses.replace(other, name="other", channels_last=False)
    right = SimpleNamespace(
        size=TINY, failure=lambda: None, losses=lambda _: [1.0], problem=lambda *_: None
    )
    race = Race(TINY, CPU, argparse.Namespace(rounds=3, steps=1), right)
    before, first, *_, last = race.rows((plain, ours, other), Budget(100))
    assert all("left_out" in row for row in before)
    assert [row["rounds"] for row in first] == [1, 1, 1]
    assert "no memory" in last[1]["error"]
    assert last[0]["rounds"] == last[2]["rounds"] == 3
    assert last[2]["ratio"] > 0


def test_rows_of_jobs_that_are_not_begun_say_so_from_the_start(tmp_path, monkeypatch):
    output = tmp_path / "rows.jsonl"

    def work(budget):
        seen.append([set(result.values) for result in read_results(output)])
        yield [{"peer": "a", "ms": 1.0}]
        raise RuntimeError("no memory")

    seen: list[list[set[str]]] = []
    jobs = [session.Job("training", ("peer",), 1.0, work, {"peer": peer}) for peer in "ab"]
    monkeypatch.setattr(session, "jobs_of", lambda *_: jobs)
    options = argparse.Namespace(device="cpu", threads=0, minutes=1, output=output, data=tmp_path)
    session.measure_all(options)
    assert seen == [[{"left_out"}, {"left_out"}], [{"error"}, {"left_out"}]]


def test_what_takes_too_long_is_ended_and_nothing_else():
    with pytest.raises(TooLongError), limited(0.05):
        time.sleep(10)
    with limited(0.05):
        pass
    time.sleep(0.1)


def test_everybody_has_as_many_turns_and_nobody_is_always_first():
    class Taking:
        def __init__(self, name):
            self.name = name

        def turn(self, steps):
            order.extend([self.name] * steps)

        def split_turn(self, steps):
            """Takes no turn of its own."""
            split.extend([self.name] * steps)

    order, split = [], []
    take_turns([Taking(name) for name in "abc"], 6, 1, lambda number: number < 9)
    rounds = ["".join(order[start : start + 3]) for start in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {each[-1] for each in rounds} == {"a", "b", "c"}
    assert sorted(split) == sorted("abc" * trainee.SPLITS)
    order.clear()
    split.clear()
    take_turns([Taking("a")], 6, 1, lambda number: number < 2, splits=0)
    assert order == ["a", "a"]
    assert split == []


def test_who_sets_nothing_has_torch_s_defaults():
    gpu = torch.device("cuda")
    for peer, convs, products in (
        (PLAIN, True, "highest"),
        (peers.STRICT, False, "highest"),
        (OURS.without_gpu(), False, "highest"),
    ):
        take_turn(peer, CPU if peer.ours else gpu)
        assert torch.backends.cudnn.allow_tf32 == convs
        assert torch.get_float32_matmul_precision() == products
        assert torch.backends.cudnn.benchmark


def test_the_peak_is_that_of_the_step_alone(monkeypatch):
    calls = []
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: calls.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: calls.append("read") or 7)
    assert peak(lambda: calls.append("step")) == 7
    assert calls.index("reset_peak_memory_stats") < calls.index("step") < calls.index("read")
    assert calls[calls.index("read") - 1] == "synchronize"


def test_on_a_gpu_what_targets_are_of_is_measured_before_anything_is_compiled():
    options = argparse.Namespace(
        parts=training.PARTS, sizes=None, quick=False, compile=False, sources=training.ALL,
        rounds=9, threads=0,
    )  # fmt: skip
    jobs = list(session.jobs_of(options, torch.device("cuda"), Path()))
    kinds = ["compiled" if job.compiles else job.case.get("source", job.benchmark) for job in jobs]
    sizes = len(peers.PUBLISHED)
    first = kinds.index("compiled")
    assert kinds[:sizes] == ["training"] * sizes
    assert jobs[0].weight >= session._weight(jobs) / 3
    assert set(kinds[sizes:first]) == {"roofline", MEMORY, JPEG, SHORT_GOP}
    assert kinds[first : first + 3] == ["compiled"] * 3
    models = [job.case["model"] for job in jobs if job.compiles]
    assert models == [size.model for size in peers.PUBLISHED for _ in peers.COMPILED_ON_GPU]
    assert kinds.count(JPEG) == kinds.count(SHORT_GOP) == sizes
    assert all(kinds.count(source) == 1 for source in training.ALL if source not in kinds[:first])


def test_a_source_whose_library_lacks_is_left_out_with_a_remedy(tmp_path, monkeypatch):
    def create_loader(*_, **__):
        raise ModuleNotFoundError("No module named 'nvidia.dali'", name="nvidia.dali")

    monkeypatch.setattr(end_to_end, "steps_of_a_turn", lambda *_: 1)
    monkeypatch.setattr(end_to_end, "copied_clips", lambda *_: ("list.txt", []))
    monkeypatch.setattr(end_to_end.tdn, "create_loader", create_loader)
    found = end_to_end.measure_source(TINY, JPEG, ("warm",), tmp_path, CPU, 1, 1, Budget(9))
    *_, (row,) = found
    assert "pip install nvidia-dali" in row["absent"]
    assert training.is_good([Result("from_files", {}, row, {})])


def test_steps_of_a_turn_are_counted_as_they_train(monkeypatch):
    """Several steps, whose convs are chosen by time although losses were compared before."""
    taken = []

    def step():
        time.sleep(0.05)
        taken.append(torch.backends.cudnn.benchmark)

    monkeypatch.setattr(end_to_end, "configured_step", lambda *_: step)
    monkeypatch.setattr(end_to_end, "TURN_SECONDS", {"cpu": 1.0})
    torch.backends.cudnn.benchmark = False
    assert 10 <= end_to_end.steps_of_a_turn(None, None, CPU) <= 20
    assert all(taken)
    assert len(taken) > end_to_end.WARM_UP + 1


def test_mistakes(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.main(["--device", "cuda"]) == 2
    with pytest.raises(SystemExit):
        training.main(["--sizes", "tdn_resnet50,8"])
    assert "tdn_resnet50,8,224,16" in capsys.readouterr().err
