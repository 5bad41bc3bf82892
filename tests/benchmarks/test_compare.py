from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import Value, compare, main, missing
from benchmarks.harness.rows import Result, read_results, write_results

positive = st.floats(1e-3, 1e3)


def result(device="A", peer="ours", benchmark="training", **values):
    return Result(benchmark, {"peer": peer}, values, {"device": device})


def verdicts(old, new, tolerance=0.05):
    return {change.name: change.verdict for change in compare(old, new, tolerance)}


def test_less_and_more_are_better_where_they_are():
    old = [result(ms=10.0, clips_per_s=100.0, peak_mb=50)]
    assert verdicts(old, [result(ms=12.0, clips_per_s=120.0, peak_mb=50)]) == {
        "ms": "worse", "clips_per_s": "better", "peak_mb": ""
    }  # fmt: skip
    assert verdicts(old, [result(ms=8.0, clips_per_s=80.0, peak_mb=60)]) == {
        "ms": "better", "clips_per_s": "worse", "peak_mb": "worse"
    }  # fmt: skip


@given(positive, positive)
def test_both_directions_agree(a, b):
    (forth,), (back,) = (
        compare([result(ms=x)], [result(ms=y)], tolerance=0) for x, y in ((a, b), (b, a))
    )
    opposite = {"worse": "better", "better": "worse", "": ""}
    assert back.verdict == opposite[forth.verdict]


def test_the_error_of_the_median_is_noise():
    """A spread of 20 % tells the median to some 1 % after 100 turns, and to 5 % after 5."""
    spread = {"ms_low": 9.0, "ms_high": 11.0}
    old = [result(ms=10.0, turns=100, **spread)]
    assert verdicts(old, [result(ms=10.4, turns=100, **spread)], 0.0) == {"ms": ""}
    assert verdicts(old, [result(ms=10.8, turns=100, **spread)], 0.0) == {"ms": "worse"}
    old = [result(ms=10.0, turns=5, **spread)]
    assert verdicts(old, [result(ms=10.8, turns=5, **spread)], 0.0) == {"ms": ""}
    assert verdicts(old, [result(ms=13.5, turns=5, **spread)], 0.0) == {"ms": "worse"}


def test_repeated_runs_tell_their_error_by_themselves():
    repeated = [result(ms=ms) for ms in (9.0, 10.0, 11.0)]
    assert verdicts(repeated, [result(ms=11.9)]) == {"ms": ""}
    assert verdicts(repeated, [result(ms=12.5)]) == {"ms": "worse"}
    assert verdicts([result(ms=10.0)], [result(ms=10.9)]) == {"ms": "worse"}


def test_noise_swallows_no_loss_in_silence():
    (change,) = compare([result(ms=10.0, ms_error=1.5)], [result(ms=12.0, ms_error=1.5)])
    assert change.old == Value(10.0, 1.5)
    assert change.verdict == "too noisy"
    assert verdicts([result(ms=10.0, ms_error=1.5)], [result(ms=30.0)]) == {"ms": "worse"}


def test_cases_of_ours_that_are_gone_or_wrong_got_worse():
    old = [result(ms=1.0), result(peer="b", ms=1.0), result(peer="c", error="no memory")]
    for now, verdict in (
        ([result(error="no")], "worse"),
        ([result(wrong="loss 3")], "worse"),
        ([result(left_out="no time")], "unknown"),
        ([result(left_out="PyAV has no encoder libx264 here")], "missing"),
        ([result(absent="pip install it")], "missing"),
        ([result("A", "other", ms=1.0)], "worse"),
        ([result(benchmark="growth", ms=1.0)], "unknown"),
    ):
        ours, peer = missing(old, now)
        assert (ours.verdict, peer.verdict) == (verdict, "missing")
    assert missing(old, [result(ms=5.0), result(peer="b", ms=5.0)]) == []


def test_values_that_a_case_lost_are_named():
    old, new = (
        [result(**values), result(peer="b", **values)]
        for values in ({"ms": 1.0, "ratio": 2.0, "cpu_ratio": 2.0}, {"ms": 1.0})
    )
    ours, peer = missing(old, new)
    assert (ours.verdict, peer.verdict) == ("unknown", "missing")
    assert ours.why.endswith("cpu_ratio, ratio")
    assert missing(new, old) == []


def test_doubtful_rows_are_not_compared():
    old, new = result(ms=1.0), result(ms=2.0, doubtful=True)
    assert compare([old], [new]) == []
    assert missing([old], [new]) == []
    assert verdicts([old], [result(ms=1.0), new]) == {"ms": ""}


@pytest.mark.parametrize("other", [{"device": "B"}, {"threads": 8}, {"cpus": 4}, {"torch": "3"}])
def test_of_other_machines_only_ratios_are_compared(other):
    old, new = result(ms=10.0, ratio=3.0), result(ms=99.0, ratio=2.0)
    new = dataclasses.replace(new, where=new.where | other)
    assert verdicts([old], [new]) == {"ratio": "worse"}


def test_overheads_are_compared_by_the_time_they_make():
    """Twice as much of next to nothing is no loss; 6 % in place of 2 % is one, unless uncertain."""
    old = [result(cpu_overhead_percent=0.1)]
    assert verdicts(old, [result(cpu_overhead_percent=0.2)], 0.03) == {"cpu_overhead_percent": ""}
    old = [result(cpu_overhead_percent=2.0)]
    new = {"cpu_overhead_percent": 6.0}
    assert verdicts(old, [result(**new)], 0.03) == {"cpu_overhead_percent": "worse"}
    assert verdicts(old, [result(**new, cpu_overhead_error=2.0)], 0.03) == {
        "cpu_overhead_percent": ""
    }


def test_only_the_same_case_and_what_was_measured_are_compared():
    old = [result(ms=1.0), result(peer="b", ms=1.0)]
    new = [result(ms=9.0, benchmark="growth"), result(peer="b", left_out="no time")]
    assert compare(old, new) == []


def test_files_and_folders(tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    for number, ms in enumerate((1.0, 1.1, 1.2)):
        write_results(old / f"{number}.jsonl", [result(ms=ms)])
    write_results(new / "0.jsonl", [result(ms=1.15)])
    assert main([str(old), str(new)]) == 0
    write_results(new / "0.jsonl", [result(ms=2.0)])
    assert main([str(old), str(new)]) == 1
    shown = capsys.readouterr().out
    assert "training: peer ours" in shown
    write_results(new / "0.jsonl", [result(error="no")])
    assert main([str(old), str(new)]) == 1
    assert "worse: training: peer ours: error: no" in capsys.readouterr().out
    write_results(new / "0.jsonl", [result(ms=2.0, doubtful=True)])
    assert main([str(old), str(new)]) == 3
    write_results(new / "0.jsonl", [result(ms=1.2, ms_error=1.0)])
    assert main([str(old), str(new)]) == 3
    assert "too noisy" in capsys.readouterr().out
    write_results(new / "0.jsonl", [result(benchmark="growth", ms=2.0)])
    assert main([str(old), str(new)]) == 2
    write_results(new / "0.jsonl", [result(left_out="no time")])
    assert main([str(old), str(new)]) == 2
    write_results(old / "1.jsonl", [result(benchmark="growth", ms=1.0)])
    write_results(new / "0.jsonl", [result(ms=1.1)])
    assert main([str(old), str(new)]) == 3
    assert main([str(old), str(tmp_path / "none.jsonl")]) == 2


@pytest.mark.parametrize("text", ["{", '{"benchmark": "x"}\n', "[]\n"])
def test_what_is_no_result_is_named(tmp_path, text, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    assert main([str(file), str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_results_come_back_as_they_were_written(tmp_path):
    found = [result(ms=1.5, losses=[1.0, 0.5]), result(peer="b", error="no")]
    write_results(tmp_path / "a" / "rows.jsonl", found)
    assert read_results(tmp_path / "a" / "rows.jsonl") == found
