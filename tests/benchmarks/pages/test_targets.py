"""Targets and epochs, of results that a GPU might have."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import training
from benchmarks.clips.data import JPEG, MEMORY, SHORT_GOP
from benchmarks.harness.rows import Result
from benchmarks.pages.epochs import epochs
from benchmarks.pages.targets import COMPILED as TARGETS_COMPILED
from benchmarks.pages.targets import PLAIN as TARGETS_PLAIN
from benchmarks.pages.targets import judge
from benchmarks.steps import peers
from benchmarks.steps.peers import COMPILED, PLAIN

GPU = {"cuda": "13.0", "device": "GPU", "gpus": 2}


def gpu_step(peer, clips_per_s=100.0, precision="bf16", **values):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 224, "clips": 16}
    case |= {"peer": peer, "precision": precision}
    return Result("training", case, {"clips_per_s": clips_per_s, **values}, GPU)


def gpu_files(source, cache="warm", **values):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 224, "clips": 16}
    return Result("from_files", case | {"source": source, "cache": cache}, values, GPU)


def link(name, number, origin="measured here"):
    case = {"row": "input", "name": name}
    return Result("scaling", case, {"number": number, "origin": origin}, GPU)


def test_an_epoch_takes_as_long_as_the_slower_of_network_and_data():
    """16 clips take the network 160 ms, and each of two GPUs waits 320 ms for its 16.

    Averaging 50 MB, two buckets, within a node of 8 takes 2 x 7/8 x 50 MB / 250 MB/s = 350 ms, of
    which 100 ms hide; between 8 nodes another 350 ms.
    """
    step = gpu_step("ours", backward_ms=100.0, gradient_mb=50.0)
    files = [gpu_files(JPEG, loader_clips_per_s=100.0), gpu_files(JPEG, "cold")]
    bandwidths = [link("node_bandwidth", 250e6), link("link_bandwidth", 250e6)]
    free = [link("node_latency", 0.0), link("link_latency", 0.0)]
    alike = [link("work", 1.0), link("spread", 0.0)]

    def found(*results):
        estimates = [estimate.row for estimate in epochs(results) if estimate.ours]
        return {(row["dataset"], row["gpus"]): row for row in estimates}

    rows = found(step, *files, *bandwidths, *free, *alike)
    assert {gpus for _, gpus in rows} == {1, 8, 64}
    row = rows["Kinetics-400", 1]
    assert (row["compute_ms"], row["data_ms"], row["limit"]) == (160.0, 320.0, "the data")
    assert row["epoch_minutes"] == pytest.approx(240_000 / 16 * 0.32 / 60, abs=0.01)
    row = rows["Kinetics-400", 8]
    assert (row["exchange_ms"], row["step_ms"], row["limit"]) == (250.0, 410.0, "the network")
    assert row["epoch_minutes"] == pytest.approx(240_000 / 128 * 0.41 / 60, abs=0.01)
    assert rows["Kinetics-400", 64]["exchange_ms"] == 600.0
    assert {row["links"] for row in rows.values()} == {"-", "measured"}

    fast = found(step, gpu_files(JPEG, loader_clips_per_s=1e4), bandwidths[0], free[0])
    assert all(row["limit"] == "the network" for row in fast.values())
    links = [fast["Kinetics-400", gpus]["links"] for gpus in (1, 8, 64)]
    assert links == ["-", "measured", "assumed"]
    assert epochs([step]) == epochs(files) == []


def test_targets_are_met_missed_or_not_measured():
    assert {verdict.verdict for verdict in judge([])} == {"not measured"}
    results = [
        gpu_step(TARGETS_PLAIN, precision=peers.DEFAULTS, ratio=1.0, peak_mb=100.0),
        gpu_step(TARGETS_COMPILED, ratio=2.5),
        gpu_step("ours", ratio=2.0, peak_mb=50.0),
        gpu_step("ours, torch.compile", ratio=3.5),
        gpu_files(JPEG, stall_percent=2.0),
        gpu_files(JPEG, "cold", stall_percent=4.0),
        gpu_files(SHORT_GOP, stall_percent=1.0),
    ]
    step, compiled, memory, jpeg, video, cpu = judge(results)
    assert (step.verdict, step.measured) == ("met", "3.50x")
    assert compiled.verdict == "MISSED by 0.10x"
    assert memory.verdict == video.verdict == "met"
    assert jpeg.verdict == "MISSED by 1.00 %"
    assert cpu.verdict == "not measured"
    assert "MISSED by 0.10x" in training.report(results)
    assert training.is_good(results)
    other = dict(GPU, device="another GPU")
    former = dataclasses.replace(results[3], where=other, values={"ratio": 9.0})
    assert judge([former, *results]) == judge(results)
    cpu_step = {"ratio": 1.31, "ratio_low": 1.0, "ratio_high": 1.6, "rounds": 7}
    case = dict(results[0].case, peer="ours", pixels=112)
    assert "noise" in judge([Result("training", case, cpu_step, {})])[-1].verdict
    assert judge([Result("training", dict(case, pixels=64), cpu_step, {})])[-1].measured == "-"
    noisy = [*results, gpu_files(MEMORY, "none", stall_percent=-1.5)]
    _, _, _, jpeg, video, _ = judge(noisy)
    assert jpeg.verdict == "not decided, noise is 1.50 %"
    assert video.verdict == "met"


def test_targets_name_the_peers():
    assert (PLAIN.name, COMPILED.name) == (TARGETS_PLAIN, TARGETS_COMPILED)
