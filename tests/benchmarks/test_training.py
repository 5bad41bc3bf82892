from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn

from benchmarks import training
from benchmarks.rows import read_results
from benchmarks.steps import measurement, session
from benchmarks.steps.files import AHEAD, TurnLoader, forget, stall_values
from benchmarks.steps.launches import covered
from benchmarks.steps.peers import COMPILED, ON_CPU, OURS, PLAIN, Size, make_step
from benchmarks.steps.roofline import take_apart

CPU = torch.device("cpu")
TINY = Size("tdn_resnet10", 2, 48, 1)
WORDS = ("--sizes", "tdn_resnet10,2,48,1", "--rounds", "2", "--threads", "1")


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
        parts = [row[f"{part}_ms"] for part in measurement.PARTS]
        assert min(parts) > 0
        assert row["ms_low"] <= row["ms"] <= row["ms_high"]
        assert row["clips_per_s"] == pytest.approx(1e3 / row["ms"], rel=1e-2)
    assert rows[0]["ratio"] == rows[0]["cpu_ratio"] == 1


def test_gaps_belong_to_operators_of_the_step(results):
    rows = [result.row for result in results if result.benchmark == "roofline"]
    for peer in (PLAIN.name, OURS.name):
        whole, *gaps = [row for row in rows if row["peer"] == peer]
        assert whole["operator"] == "all"
        assert len(gaps) == 3
        assert all(gap["operator"].startswith("aten.") for gap in gaps)
        assert sum(gap["ms"] for gap in gaps) <= whole["ms"]
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


def test_a_peer_that_trains_another_network_is_wrong(tmp_path, monkeypatch, capsys):
    def other(peer, size, device):
        step = make_step(peer, size, device)
        if peer.ours:
            nn.init.normal_(step._parameters[-2])
        return step

    monkeypatch.setattr(measurement, "make_step", other)
    output = tmp_path / "rows.jsonl"
    assert training.main([*WORDS, "--parts", "steps", "--output", str(output)]) == 1
    *_, ours = read_results(output)
    assert "step 1" in ours.values["wrong"]
    assert "ms" not in ours.values
    assert "wrong: loss" in capsys.readouterr().out


def test_a_peer_that_fails_does_not_end_the_run(monkeypatch):
    def failing(peer, size, device):
        if peer.name == COMPILED.name:
            raise RuntimeError("no compiler\nat all")
        return make_step(peer.without_gpu(), size, device)

    monkeypatch.setattr(measurement, "make_step", failing)
    peers = tuple(dataclasses.replace(p, precision="fp32") for p in (PLAIN, COMPILED, OURS))
    rows, ran = measurement.measure(peers, TINY, CPU, rounds=1, steps=1)
    assert rows[1]["error"] == "RuntimeError: no compiler"
    assert list(ran) == [PLAIN.name, OURS.name]


class Clock:
    """Time that passes where somebody works."""

    now = 0.0

    def work(self, seconds):
        self.now += seconds


def test_the_stall_is_what_a_step_from_files_takes_longer(monkeypatch):
    """A step takes 1 s; the files make one wait 0.25 s, but not for what is ready."""
    clock = Clock()
    monkeypatch.setattr("benchmarks.steps.files.time.perf_counter", lambda: clock.now)

    class Files:
        ready = AHEAD

        def set_epoch(self, epoch):
            del epoch

        def __iter__(self):
            for number in range(5):
                clock.work(0 if self.ready > 0 else 0.25)
                self.ready -= 1
                yield f"file {number}"

    files, forgotten = Files(), []

    def before():
        forgotten.append(clock.now)
        files.ready = AHEAD

    class Memory(list):
        labels = (0, 1)

    loader = TurnLoader(files, Memory(), 2, 3, "cpu", before)
    given = []
    for batch in loader:
        given.append(batch)
        clock.work(1.0)
    assert len(given) == loader.listed // 2
    assert len(forgotten) == 3
    assert loader.memory == [1.0, 1.0, 1.0]
    assert loader.files == [1.25, 1.25, 1.25]
    values = stall_values(loader, clips=2)
    assert values["stall_percent"] == pytest.approx(20.0)
    assert values["clips_per_s"] == pytest.approx(1.6)
    assert values["turns"] == 2


def test_training_from_real_files(tmp_path):
    output = tmp_path / "rows.jsonl"
    words = ["--parts", "files", "--sources", "jpeg", "--rounds", "1", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        small = Size("tdn_resnet10", 2, 48, 2)
        patch.setitem(session.FROM_FILES, "cpu", small)
        patch.setattr(session, "FILES_MADE", 8)
        assert training.main([*words, "--data", str(tmp_path), "--output", str(output)]) == 0
    warm, cold = read_results(output)
    assert (warm.case["cache"], cold.case["cache"]) == ("warm", "cold")
    for result in (warm, cold):
        assert result.values["files_ms"] > 0
        assert result.values["stall_percent"] < 100


def test_what_is_forgotten_is_still_there(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    forget([file])
    assert file.read_bytes() == b"abc"


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
