from __future__ import annotations

import pytest
import torch

from benchmarks import growth
from benchmarks.harness.rows import read_results
from benchmarks.steps.peers import StepSize


def test_one_thing_is_varied_at_a_time():
    for device, middle in growth.MIDDLE.items():
        for along, size in growth.sizes(device):
            for name in ("model", "segments", "pixels", "clips"):
                assert name == along or getattr(size, name) == getattr(middle, name)
        segments = [size.segments for along, size in growth.sizes(device) if along == "segments"]
        assert (min(segments), max(segments)) == (8, 64)


def test_workers_are_powers_of_two_and_all():
    assert growth.worker_counts(1) == [1]
    assert growth.worker_counts(6) == [1, 2, 4, 6]


def test_rows_of_a_small_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(growth.MIDDLE, "cpu", StepSize("tdn_resnet10", 2, 48, 1))
    monkeypatch.setitem(growth.ALONG, "cpu", {"clips": (1, 2), "segments": (2, 4)})
    monkeypatch.setattr(growth, "usable_cores", lambda: 1)
    output = tmp_path / "rows.jsonl"
    words = ["--steps", "1", "--threads", "1", "--files", "4", "--epochs", "1"]
    assert growth.main([*words, "--output", str(output)]) == 0
    results = read_results(output)
    cases = [(result.case["along"], result.case.get("workers")) for result in results]
    assert cases == [*[("clips", None)] * 2, *[("segments", None)] * 2, ("workers", 1)]
    one, two, *_ = [result.values for result in results]
    assert two["kept_mb"] == pytest.approx(2 * one["kept_mb"], rel=0.1)
    assert all(result.values["clips_per_s"] > 0 for result in results)
    assert "workers" in capsys.readouterr().out


def test_what_does_not_fit_says_why():
    row = growth.step_values(StepSize("tdn_resnet10", 2, 16, 1), torch.device("cpu"), steps=1)
    assert "16x16" in row["error"]
    assert "ms" not in row


def test_what_there_is_no_time_for_says_so(tmp_path):
    output = tmp_path / "rows.jsonl"
    assert growth.main(["--minutes", "-1", "--output", str(output)]) == 0
    results = read_results(output)
    assert {result.case["along"] for result in results} == {*growth.ALONG["cpu"], "workers"}
    assert all("left_out" in result.values for result in results)


def test_who_is_ended_has_rows_of_all_cases(tmp_path, monkeypatch):
    def ended(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(growth, "step_values", ended)
    output = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        growth.main(["--output", str(output)])
    results = read_results(output)
    assert {result.case["along"] for result in results} == {*growth.ALONG["cpu"], "workers"}
    assert all("left_out" in result.values for result in results)


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert growth.main(["--device", "cuda"]) == 2
