from __future__ import annotations

import argparse
import dataclasses
import itertools
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType

from benchmarks import training
from benchmarks.clips.data import JPEG, MEMORY, SHORT_GOP
from benchmarks.harness.rows import Result, read_results
from benchmarks.pages.epochs import epochs
from benchmarks.pages.targets import COMPILED as TARGETS_COMPILED
from benchmarks.pages.targets import PLAIN as TARGETS_PLAIN
from benchmarks.pages.targets import judge
from benchmarks.steps import copies, end_to_end, losses, peers, session, trainee
from benchmarks.steps.copies import SHARDS
from benchmarks.steps.files import AHEAD, TurnLoader, batches_of_a_turn, stall_values
from benchmarks.steps.launches import covered, of_events
from benchmarks.steps.limits import Budget, limited
from benchmarks.steps.losses import LossCheck
from benchmarks.steps.measurement import Race
from benchmarks.steps.memory import peak
from benchmarks.steps.page_cache import cached_percent, forget, read
from benchmarks.steps.peers import COMPILED, ON_CPU, OURS, PLAIN, StepSize, make_step, take_turn
from benchmarks.steps.roofline import MARK, marked_ms, moved_bytes, take_apart
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


def test_a_product_of_matrices_and_a_sum_by_hand():
    """2 x 4 x 8 x 16 operations and 4 x 8 + 8 x 16 + 4 x 16 numbers; 64 numbers and their sum."""
    a, b = torch.randn(4, 8), torch.randn(8, 16)
    parts = take_apart(lambda: (a @ b).sum(), "cpu", rate=1e3, copy=1e6)
    product = parts["aten.mm"]
    assert (product.calls, product.flops) == (1, 1024)
    assert product.bytes == 4 * (32 + 128 + 64)
    assert product.ideal_ms == pytest.approx(1024.0)  # its operations take longer than its bytes
    total = parts["aten.sum"]
    assert (total.flops, total.bytes) == (0, 4 * 65)
    assert total.ideal_ms == pytest.approx(0.26)
    assert product.ms > 0


def test_both_passes_and_the_update_are_taken_apart():
    parts = take_apart(make_step(OURS.without_gpu(), TINY, CPU), "cpu", 1e12, 1e10)
    assert parts["aten.convolution_backward"].flops > parts["aten.convolution"].flops > 0
    assert any("sgd" in name for name in parts)


def test_what_is_shown_again_and_again_is_moved_once():
    assert moved_bytes(torch.zeros(3, 1).expand(3, 100)) == 12
    both = torch.zeros(4, 8)
    assert moved_bytes([both, (both, torch.zeros(2))]) == 4 * (32 + 2)


def event(name, device=DeviceType.CPU, start=0.0, end=0.0, annotation=False, **totals):
    return SimpleNamespace(
        name=name,
        device_type=device,
        is_user_annotation=annotation,
        time_range=SimpleNamespace(start=start, end=end),
        **totals,
    )


def test_operators_are_timed_where_the_program_marks_them():
    name, on_gpu = f"{MARK}aten.mm", DeviceType.CUDA
    events = [
        event(name, annotation=True, cpu_time_total=900, device_time_total=200),
        event(name, on_gpu, annotation=True, cpu_time_total=0, device_time_total=700),
        event(name, annotation=True, cpu_time_total=100, device_time_total=50),
        event("aten::mm", cpu_time_total=100, device_time_total=50),
    ]
    assert marked_ms(events, "cuda") == {"aten.mm": 0.25}
    assert marked_ms(events, "cpu") == {"aten.mm": 1.0}


def test_launches_kernels_and_copies_are_told_apart():
    gpu = DeviceType.CUDA
    events = [
        event("Optimizer.step#SGD.step", gpu, 0, 100, annotation=True),
        event("Optimizer.step#SGD.step", annotation=True),
        event("cudaLaunchKernel"),
        event("cuLaunchKernelEx"),
        event("cudaGraphLaunch"),
        event("cudaMemcpyAsync"),
        event("cudaStreamSynchronize"),
        *[event("sm90_gemm", gpu, start, start + 10) for start in (0, 10, 40, 50)],
        event("Memcpy HtoD (Pinned -> Device)", gpu, 20, 30),
        event("Memset (Device)", gpu, 60, 64),
        event("Memcpy DtoH (Device -> Pinned)", gpu, 64, 70),
    ]
    row = of_events(events, 2)
    assert (row["launches"], row["kernels"], row["copies"]) == (1.5, 2, 1.5)
    assert row["copy_ms"] == 0.005
    assert row["gpu_busy_percent"] == pytest.approx(100 * 60 / 70, abs=0.1)


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
    rows = race.rows(ON_CPU, Budget(100))
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
    rows = Race(TINY, CPU, OPTIONS, check).rows((plain, compiled, ours), Budget(100))
    assert [row.get("error") for row in rows] == [None, "RuntimeError: no compiler", None]
    assert rows[2]["ratio"] > 0
    rows = Race(TINY, CPU, OPTIONS, check).rows((slow,), Budget(0.2))
    assert "TimeoutError" in rows[0]["error"]
    rows = Race(TINY, CPU, OPTIONS, check).rows((plain, ours), Budget(-1))
    assert all("left_out" in row for row in rows)


def test_what_takes_too_long_is_ended_and_nothing_else():
    with pytest.raises(TimeoutError), limited(0.05):
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

    order = []
    take_turns([Taking(name) for name in "abc"], 6, 1, lambda number: number < 9)
    rounds = ["".join(order[start : start + 3]) for start in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {each[-1] for each in rounds} == {"a", "b", "c"}
    order.clear()
    take_turns([Taking("a")], 6, 1, lambda number: number < 2)
    assert order == ["a", "a"]


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


class Clock:
    """Time that passes where somebody works."""

    now = 0.0

    def work(self, seconds):
        self.now += seconds


def test_the_stall_is_what_a_step_from_files_takes_longer(monkeypatch):
    """A step takes 1 s; the files make one wait 0.25 s, and when they are opened for long."""
    clock = Clock()
    monkeypatch.setattr("tdn.training.clock.time.perf_counter", lambda: clock.now)
    kinds = []

    def files():
        clock.work(100.0)
        kinds.append("files")
        for number in range(batches_of_a_turn(3)):
            clock.work(0.25)
            yield f"file {number}"

    class Memory(list):
        labels = (0, 1)

    loader = TurnLoader(files, Memory(), 2, 3, "cpu")
    given = []
    for batch in loader:
        given.append(batch)
        clock.work(1.0)
    assert len(given) == loader.listed // 2
    from_files = [isinstance(batch, str) for batch in given]
    turn = [True] * (AHEAD + 3)
    memory = [False] * (AHEAD + 3)
    assert from_files == [False] * AHEAD + turn + memory + memory + turn + [False]
    assert kinds == ["files", "files"]
    assert loader.memory == [(1.0, 0.0)] * 2
    assert loader.files == [(1.25, 0.25)] * 2
    values = stall_values(loader, clips=2)
    assert values["stall_percent"] == pytest.approx(20.0)
    assert values["wait_ms"] == pytest.approx(250.0)
    assert values["clips_per_s"] == pytest.approx(1.6)
    assert (values["turns"], values["steps_of_a_turn"]) == (2, 3)


def lie_in_memory(folder):
    """Whether a folder's files have no disk that they could be read from again."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    _, kind = max((m for m in mounts if folder.is_relative_to(m[0])), key=lambda m: len(m[0]))
    return kind in ("tmpfs", "ramfs")


def test_training_from_real_files(tmp_path, monkeypatch):
    output = tmp_path / "rows.jsonl"
    words = ["--parts", "files", "--sources", SHARDS, "--rounds", "1", "--threads", "1"]
    small = StepSize("tdn_resnet10", 2, 48, 1)
    monkeypatch.setitem(end_to_end.SIZES, "cpu", (small,))
    monkeypatch.setattr(copies, "FILES_MADE", 2)
    monkeypatch.setitem(end_to_end.TURN_SECONDS, "cpu", 0.0)
    assert training.main([*words, "--data", str(tmp_path), "--output", str(output)]) == 0
    control, *rows = read_results(output)
    assert control.case["source"] == MEMORY
    warm, cold = rows
    assert (warm.case["cache"], cold.case["cache"]) == ("warm", "cold")
    assert warm.values["cached_percent"] == 100
    if lie_in_memory(tmp_path):
        assert "does not forget" in cold.values["left_out"]
    else:
        assert cold.values["cached_percent"] < end_to_end.MOST_CACHED
    for result in (warm,) if "left_out" in cold.values else (warm, cold):
        assert result.values["stall_percent"] == pytest.approx(
            100 * (1 - result.values["memory_ms"] / result.values["files_ms"]), abs=0.1
        )
        assert 0 <= result.values["wait_ms"] <= result.values["files_ms"]
        assert result.values["loader_clips_per_s"] > 0
    assert control.values["wait_ms"] < control.values["files_ms"]


def test_copies_are_files_of_their_own(tmp_path, monkeypatch):
    """Three of two clips: as folders of pictures, and in shards."""

    def two_clips(folder, source, recipe, workers):
        for number in range(2):
            clip = folder / f"{number}{'' if source == JPEG else '.mp4'}"
            (clip / "00001.jpg" if source == JPEG else clip).parent.mkdir(exist_ok=True)
            (clip / "00001.jpg" if source == JPEG else clip).write_text(f"clip {number}")
        listed = folder / "list.txt"
        listed.write_text("0 1 0\n1 1 1\n" if source == JPEG else "0.mp4 0\n1.mp4 1\n")
        return listed

    monkeypatch.setattr(copies, "make_clips", two_clips)
    listed, paths = copies.copied_clips(tmp_path, JPEG, 3)
    names = ["00000-0", "00001-1", "00002-0"]
    assert Path(listed).read_text().splitlines() == [f"{n} 1 {n[-1]}" for n in names]
    assert sorted(path.parent.name for path in paths) == names
    assert len({path.stat().st_ino for path in paths}) == 3

    monkeypatch.setattr(copies, "CLIPS_OF_A_SHARD", 2)
    listed, paths = copies.copied_clips(tmp_path, SHARDS, 3)
    assert sorted(map(str, Path(listed).parent.glob(Path(listed).name))) == list(map(str, paths))
    texts = {}
    for path in paths:
        with tarfile.open(path) as tar:
            texts |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    assert texts == {
        **{f"{n:05d}.mp4": f"clip {n % 2}".encode() for n in range(3)},
        **{f"{n:05d}.cls": f"{n % 2}".encode() for n in range(3)},
    }


def test_files_are_forgotten_and_read(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(bytes(100_000))
    read(paths)
    assert cached_percent(paths) == 100
    forget(paths[:1])
    assert cached_percent(paths) == (100 if lie_in_memory(tmp_path) else 50)
    assert paths[0].read_bytes() == bytes(100_000)


GPU = {"cuda": "13.0", "device": "GPU", "gpus": 2}


def gpu_step(peer, clips_per_s=100.0, precision="bf16", **values):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 224, "clips": 16}
    case |= {"peer": peer, "precision": precision}
    return Result("training", case, {"clips_per_s": clips_per_s, **values}, GPU)


def gpu_files(source, cache="warm", **values):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 224, "clips": 16}
    return Result("from_files", case | {"source": source, "cache": cache}, values, GPU)


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
    assert set(kinds[sizes:first]) == {"roofline", MEMORY, JPEG, SHORT_GOP}
    assert kinds[first : first + 3] == ["compiled"] * 3
    models = [job.case["model"] for job in jobs if job.compiles]
    assert models == [size.model for size in peers.PUBLISHED for _ in peers.COMPILED_ON_GPU]
    assert kinds.count(JPEG) == kinds.count(SHORT_GOP) == sizes
    assert all(kinds.count(source) == 1 for source in training.ALL if source not in kinds[:first])


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
    noisy = [*results, gpu_files(MEMORY, "none", stall_percent=-1.5)]
    _, _, _, jpeg, video, _ = judge(noisy)
    assert jpeg.verdict == "not decided, noise is 1.50 %"
    assert video.verdict == "met"


def test_targets_name_the_peers():
    assert (PLAIN.name, COMPILED.name) == (TARGETS_PLAIN, TARGETS_COMPILED)


@pytest.mark.parametrize(
    ("spans", "length"),
    [([(0, 1), (2, 3)], 2), ([(0, 2), (1, 3)], 3), ([(0, 5), (1, 2)], 5), ([(1, 2), (0, 1)], 2)],
)
def test_time_that_spans_cover_together(spans, length):
    for order in itertools.permutations(spans):
        assert covered(order) == length


def test_mistakes(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.main(["--device", "cuda"]) == 2
    with pytest.raises(SystemExit):
        training.main(["--sizes", "tdn_resnet50,8"])
    assert "tdn_resnet50,8,224,16" in capsys.readouterr().err
