"""Two processes under a real torchrun (gloo), compared with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.harness.rows import read_results
from tdn.evaluation.evaluator import evaluate
from tdn.training.processes.distributed import Processes
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.real_network import synchronised_step
from tests.tdn.training.runs import assert_same, events
from tests.tdn.training.test_resuming import record

SCRIPT = Path(__file__).with_name("distributed_script.py")
ROOT = Path(__file__).parents[4]
TASKS = (
    "run_and_evaluate",
    "accumulate",
    "compress",
    "average_weights",
    "synchronise",
    "stop_and_resume",
    "change_processes",
    "stop_while_validating",
    "fail_on_one",
    "see_other_videos",
    "skip_on_one",
    "stall",
    "lose_videos",
    "diverge_on_one",
    "gather",
    "measure_overhead",
    "lose_checkpoints",
    "end_stalled",
)
UNDISTURBED = "run_and_evaluate", "lose_checkpoints", "end_stalled"
"""Tasks that come to the same end, though something happens to the second and the third."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that two processes left, one for each task."""
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.forks", "torch.distributed.run", "--standalone",
         "--nproc-per-node", "2", "--max-restarts", "2", str(SCRIPT), str(folder), *TASKS],
        env=environment,
    ) as torchrun:  # fmt: skip
        try:
            assert torchrun.wait(timeout=200) == 0
        finally:
            torchrun.terminate()  # it takes its processes with it
    return folder


def read(folder: Path, name: str) -> list[Any]:
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def test_order_and_weights_are_those_of_one_process(two, tmp_path, tiny):
    config = tiny_config(
        str(tmp_path), model__name="tiny", model__dropout=0.0, data__validation_list="31"
    )
    alone = train(config)
    served = read(two / "run_and_evaluate", "served")
    together = [
        [epoch, step, first + second]
        for (epoch, step, first), (_, _, second) in zip(*served, strict=True)
    ]
    assert together == [list(entry) for entry in tiny.loaders[0].served]

    pair = weights(two / "run_and_evaluate" / "run" / "checkpoints" / "last.pt")
    for name, value in weights(alone.last).items():
        torch.testing.assert_close(pair[name], value, rtol=1e-4, atol=1e-5)
    results = read(two / "run_and_evaluate", "result")
    assert results[0] == results[1] == [True, alone.step, alone.top1, alone.best_top1]


def test_only_the_main_process_writes_and_counts_everything(two):
    log = (two / "run_and_evaluate" / "run" / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    assert [event["event"] for event in events].count("start") == 1
    start = events[0]
    assert (start["world_size"], start["global_batch"], start["steps_per_epoch"]) == (2, 8, 5)
    assert sum(event["clips"] for event in events if event["event"] == "train") == 15 * 8
    assert {event["clips"] for event in events if event["event"] == "validation"} == {31}


def test_evaluation_scores_every_video_once_and_as_one_process_does(two, tmp_path, tiny):
    best = two / "run_and_evaluate" / "run" / "checkpoints" / "best.pt"
    settings = {"data__batch_size": 4, "data__validation_list": "31"}
    config = tiny_config(str(tmp_path), model__name="tiny", **settings)
    metrics = evaluate(config, best)
    one = np.load(tmp_path / "scores.npz")
    pair = np.load(two / "run_and_evaluate" / "scores" / "scores.npz")
    assert pair["indices"].tolist() == list(range(31))
    for key in ("indices", "labels", "scores"):
        np.testing.assert_array_equal(pair[key], one[key])
    found = read(two / "run_and_evaluate", "metrics")
    assert found[0] == found[1]
    assert (found[0]["top1"], found[0]["top5"]) == (metrics["top1"], metrics["top5"])
    assert (found[0]["videos"], found[0]["world_size"]) == (31, 2)


def test_a_step_of_several_batches_averages_gradients_once(two, tmp_path, tiny):
    assert read(two / "accumulate", "averaged") == [15, 15]
    alone = train(tiny_config(str(tmp_path), model__name="tiny", model__dropout=0.0))
    pair = weights(two / "accumulate" / "run" / "checkpoints" / "last.pt")
    for name, value in weights(alone.last).items():
        torch.testing.assert_close(pair[name], value, rtol=1e-4, atol=1e-5)


def test_in_bf16_and_by_lamb_weights_are_those_of_one_process(two, tmp_path, tiny):
    settings = {"optimizer__name": "lamb", "optimizer__lr": 0.01, "training__precision": "bf16"}
    alone = train(tiny_config(str(tmp_path), model__name="tiny", model__dropout=0.0, **settings))
    (start,) = events(two / "accumulate" / "lamb", "start")
    assert (start["precision"], start["optimizer"]) == ("bf16", "lamb")
    pair = weights(two / "accumulate" / "lamb" / "checkpoints" / "last.pt")
    for name, value in weights(alone.last).items():
        torch.testing.assert_close(pair[name], value, rtol=0.02, atol=0.002)


def test_gradients_may_travel_in_half_the_bytes(two):
    exact, compressed = (
        weights(two / task / "run" / "checkpoints" / "last.pt")
        for task in ("accumulate", "compress")
    )
    for name, value in exact.items():
        torch.testing.assert_close(compressed[name], value, rtol=0.02, atol=0.005)
        assert (compressed[name] - value).abs().max() > 1e-5


@pytest.mark.parametrize(("name", "tolerance"), [("compiled", 1e-4), ("static", 0.005)])
def test_compiled_replicas_learn_the_same(two, name, tolerance):
    """In two batches a step; and in one, whose gradients are rounded to bf16 at another point."""
    plain, compiled = (
        weights(two / "compress" / name / "checkpoints" / "last.pt") for name in ("run", name)
    )
    assert list(plain) == list(compiled)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=10 * tolerance, atol=tolerance)


def test_replicas_know_that_every_parameter_takes_part(two):
    """Static graph where every pass averages, gradients without a copy, no search for unused."""
    assert read(two / "compress", "replica1") == [[True, True, False]] * 2
    assert read(two / "compress", "replica2") == [[False, True, False]] * 2


def test_synchronised_statistics_are_those_of_one_process_with_all_clips(two, tmp_path, tiny):
    """Of a whole run, with the statistics that its validations take anew."""
    config = tiny_config(str(tmp_path), model__dropout=0.0, training__precise_bn=12)
    pair = weights(two / "synchronise" / "run" / "checkpoints" / "last.pt")
    for name, value in weights(train(config).last).items():
        torch.testing.assert_close(pair[name], value, rtol=1e-4, atol=1e-5)


def test_synchronised_the_network_computes_what_one_process_does_with_all_clips(two):
    alone = synchronised_step(Processes(rank=0, world_size=1, device=torch.device("cpu")))
    pair = [torch.load(two / "synchronise" / f"step-{rank}.pt") for rank in (0, 1)]
    logits = torch.cat([step["logits"] for step in pair])
    torch.testing.assert_close(logits, alone["logits"], rtol=1e-4, atol=1e-6)
    largest = max(value.abs().max() for name, value in alone.items() if "gradient" in name)
    for name, value in alone.items():
        if name != "logits":
            assert torch.equal(pair[0][name], pair[1][name])
            torch.testing.assert_close(pair[0][name], value, rtol=1e-3, atol=1e-5 * float(largest))


@pytest.mark.parametrize("rank", [0, 1])
def test_recomputed_stages_have_the_same_bits(two, rank):
    kept, recomputed = (
        torch.load(two / "synchronise" / f"{name}-{rank}.pt") for name in ("step", "recomputed")
    )
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_a_process_without_videos_does_not_mind(two):
    assert [metrics["videos"] for metrics in read(two / "run_and_evaluate", "one")] == [1, 1]


@pytest.mark.parametrize(
    ("run", "key"), [("skip_on_one/run", "model"), ("average_weights/run", "ema")]
)
def test_validation_uses_the_main_process_s_running_statistics(two, run, key):
    """As everyone who loads the checkpoint will: the same loss comes out."""
    run = two / run
    model = synthetic.TinyNetwork("tiny_bn", 6, 0.5, 16).eval()
    saved = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    model.load_state_dict(saved[key])
    batch = synthetic.make_batch(np.arange(30))
    loss = F.cross_entropy(model(batch.clips), batch.labels).item()
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    validations = [line for line in lines if line["event"] == "validation"]
    assert validations[-1]["loss"] == pytest.approx(loss, rel=1e-5)


def test_every_process_has_a_profile_of_its_own(two):
    folder = two / "run_and_evaluate" / "run" / "profile"
    traces = {f"steps-2-3-process-{rank}.{kind}" for rank in (0, 1) for kind in ("json.gz", "txt")}
    assert {path.name for path in folder.iterdir()} == traces


def test_a_signal_to_one_process_stops_both_after_the_same_step(two):
    stopped = read(two / "stop_and_resume", "stopped")
    assert stopped[0] == stopped[1]
    completed, step = stopped[0]
    assert not completed
    assert 7 <= step <= 9
    assert read(two / "stop_and_resume", "resumed") == [True, True]
    whole, parts = (
        torch.load(two / "stop_and_resume" / name / "checkpoints" / "last.pt", weights_only=True)
        for name in ("whole", "run")
    )
    assert all(torch.equal(whole["model"][name], parts["model"][name]) for name in whole["model"])
    assert whole["scaler"] == parts["scaler"]
    assert whole["scaler"]["scale"] < 65536  # the first one is too large
    records = [record(two / "stop_and_resume" / name) for name in ("whole", "run")]
    assert records[0] == records[1]
    assert records[0][-2]["overflows"] > 0


def test_each_process_mixes_its_clips_in_its_own_way(two):
    """By mixup or by cutmix; the learning rate is for half the clips that it was given for."""
    main, other = read(two / "stop_and_resume", "mixes")
    assert [step for step, _ in main] == [step for step, _ in other] == list(range(15))
    assert all(mine != theirs for (_, mine), (_, theirs) in zip(main, other, strict=True))
    for mixes in (main, other):
        assert 0 < sum("box=None" in mix for _, mix in mixes) < 15
    log = (two / "stop_and_resume" / "whole" / "log.jsonl").read_text()
    assert json.loads(log.splitlines()[0])["lr"] == pytest.approx(0.01)


def test_another_number_of_processes_goes_on_with_the_same_clips_in_the_same_steps(
    two, tmp_path, tiny
):
    train(tiny_config(str(tmp_path), model__name="tiny"))
    main, other = read(two / "change_processes", "served")
    alone_first, main_half, alone_last = main
    together = [
        [epoch, step, first + second]
        for (epoch, step, first), (_, _, second) in zip(main_half, *other, strict=True)
    ]
    assert together
    assert alone_last
    assert alone_first + together + alone_last == [
        [epoch, step, rows] for epoch, step, rows in tiny.loaders[0].served
    ]
    lines = (two / "change_processes" / "run" / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    starts = [event for event in events if event["event"] == "start"]
    assert [(e["world_size"], e["batch_size"], e["global_batch"]) for e in starts] == [
        (1, 8, 8), (2, 4, 8), (1, 8, 8)
    ]  # fmt: skip
    trained = [event for event in events if event["event"] == "train"]
    assert [event["step"] for event in trained] == [2, 4, 5, 6, 8, 10, 12, 14, 15]
    assert sum(event["clips"] for event in trained) == 15 * 8


def test_a_mistake_on_one_process_ends_both_and_is_told_once(two):
    main, other = read(two / "fail_on_one", "end")
    assert main == ["told", "train.txt: not on this host"]
    assert other == ["silent", 2]


def test_processes_that_see_other_videos_do_not_start(two):
    (how, message), silent = read(two / "see_other_videos", "end")
    assert how == "told"
    assert "data.validation_list" in message
    assert silent == ["silent", 2]
    assert not (two / "see_other_videos" / "run" / "log.jsonl").exists()


def test_a_divergence_on_one_process_is_told_with_its_videos(two):
    (kind, message), other = read(two / "diverge_on_one", "end")
    rows = json.loads((two / "diverge_on_one" / "poisoned-1.json").read_text())
    assert kind == "told"
    assert f"step 3: the loss is not finite, on rows {str(sorted(rows))[1:-1]} " in message
    assert other == ["silent", 2]


@pytest.mark.parametrize("run", ["run", "scaled"])
def test_an_update_is_left_out_on_both_where_one_has_no_finite_loss(two, run):
    """By SGD, and by LAMB in fp16, where the loss scale leaves out others."""
    weights = read(two / "skip_on_one", "weights")
    assert weights[0] == weights[1]
    assert [set(finite) for finite in read(two / "skip_on_one", "buffers")] == [{True}, {True}]
    log = (two / "skip_on_one" / run / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in log]
    (skipped,) = [event for event in events if event["event"] == "skipped"]
    rows = json.loads((two / "skip_on_one" / "poisoned-1.json").read_text())
    assert (skipped["step"], skipped["reason"], skipped["rows"]) == (8, "loss", sorted(rows))
    trained = [event for event in events if event["event"] == "train"]
    assert [event["skipped"] for event in trained] == [0] * 7 + [1] * 8
    assert [event["clips"] for event in trained] == [8] * 7 + [4] + [8] * 7
    assert all(event["loss"] is not None for event in trained)
    assert (trained[-1]["overflows"] > 0) == (run == "scaled")


def test_a_stall_tells_where_every_process_stands_and_the_run_goes_on(two):
    (completed, told), (other_completed, nothing) = read(two / "stall", "stalled")
    assert completed
    assert other_completed
    assert "process" not in nothing
    lines = told.splitlines()
    assert len([line for line in lines if line.startswith("  process 0 (")]) == 1
    assert any("after step 7, waiting for data" in line for line in lines if "process 1" in line)
    assert any(line.startswith("process 1 waited for data") for line in lines)
    stacks = (two / "stall" / "run" / "stall.txt").read_text()
    assert stacks.count("wait_for") == 1  # on the second process
    assert "backward" in stacks


def test_a_full_disk_and_a_damaged_checkpoint_cost_no_training(two):
    """Both processes end with a line; the same command goes on from the checkpoint before."""
    (how, line), silent = read(two / "lose_checkpoints", "end")
    assert how == "told"
    assert "last.pt" in line
    assert silent == ["silent", 2]
    assert "damaged" in read(two / "lose_checkpoints", "resumed")[0]
    assert_same(*(two / task / "run" / "checkpoints" / "last.pt" for task in UNDISTURBED[:2]))


def test_the_trainer_s_overhead_is_measured_on_several_processes(two):
    (result,) = read_results(two / "measure_overhead" / "row.jsonl")
    row = result.row
    assert (row["processes"], row["model"], row["rounds"]) == (2, "tdn_resnet10", 1)
    assert row["time_ms_trainer"] > 0
    assert row["time_ms_bare"] > 0


def test_a_stalled_run_that_torchrun_starts_again_goes_on(two):
    assert_same(*(two / task / "run" / "checkpoints" / "last.pt" for task in UNDISTURBED[::2]))
    run = two / "end_stalled" / "run"
    assert [event["step"] for event in events(run, "start")] == [0, 7]
    assert "in wait_for" in (run / "stall.txt").read_text()


def test_videos_that_are_lost_are_counted_over_all_processes(two):
    """Four of 44 are allowed, of which each process knows three; the fifth ends the run."""
    (kind, message), silent = read(two / "lose_videos", "end")
    assert kind == "told"
    assert "5 of 44 videos" in message
    assert silent == ["silent", 2]
    last, other = read(two / "lose_videos", "lost")
    assert last == other
    assert (1, 3) <= tuple(last) <= (2, 0)
    (kind, message), silent = read(two / "lose_videos", "validation")
    assert kind == "told"
    assert "data.validation_list: 4 of 30 videos" in message
    last_checkpoint = two / "lose_videos" / "run" / "checkpoints" / "last.pt"
    assert torch.load(last_checkpoint, weights_only=True)["step"] == 5 * last[0] + last[1] + 1


@pytest.mark.parametrize("task", ["run_and_evaluate", "compress", "diverge_on_one"])
def test_no_replica_of_the_network_outlives_the_group(two, task):
    """It would hold the group's threads and Python's lock at once, which now and then hangs."""
    assert [set(replicas) for replicas in read(two / task, "replicas")] == [{0}, {0}]


def test_values_travel(two):
    assert read(two / "gather", "gathered") == [
        [[0, 10], [[0], [1]], "from 0", [True, True, False]],
        [[0, 10], [], "from 0", [True, True, False]],
    ]


def test_a_signal_to_one_process_ends_a_validation_of_both(two):
    stopped = read(two / "stop_while_validating", "stopped")
    assert stopped == [[False, 5, None]] * 2
    assert read(two / "stop_while_validating", "resumed") == [True, True]
