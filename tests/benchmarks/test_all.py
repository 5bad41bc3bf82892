from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import time
from pathlib import Path

import pytest

from benchmarks import all as every
from benchmarks.all import ON_CPU, ON_GPU, Part, main, words_of
from benchmarks.harness.rows import Result, read_results, write_results


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    """Programs in place of the benchmarks."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(every, "HERE", folder)
    monkeypatch.setattr(every.torch.cuda, "is_available", lambda: False)

    def write(name, text):
        (folder / f"{name}.py").write_text(text)

    return write


WRITES = """
import json, sys
row = {"benchmark": "x", "case": {"words": sys.argv[1:-2]}, "values": {"ms": 1}, "where": {}}
more = dict(row, values={"left_out": "no time"})
with open(sys.argv[-1], "w") as file:
    file.write(json.dumps(row) + "\\n" + json.dumps(more) + "\\n")
"""


def test_each_has_its_share_and_its_words_and_nobody_hinders_the_next(
    tmp_path, benchmarks, monkeypatch, capsys
):
    benchmarks("good", WRITES)
    benchmarks("bad", WRITES + "print('out of luck'); raise SystemExit(3)")
    benchmarks("last", WRITES)
    parts = (
        Part("bad", 0.1),
        Part("good", 0.5, ("--a", "1"), ("--less",)),
        Part("last", 0.1, timed=False, with_device=False),
    )
    monkeypatch.setattr(every, "ON_CPU", parts)
    assert main(["--out", str(tmp_path), "--minutes", "10", "--quick"]) == 1
    *words, minutes = read_results(tmp_path / "good-cpu.jsonl")[0].case["words"]
    assert words == ["--a", "1", "--less", "--device", "cpu", "--minutes"]
    assert float(minutes) == pytest.approx(
        10 * every.SAID * 5 / 6, abs=0.1
    )  # what is left over included
    assert read_results(tmp_path / "last-cpu.jsonl")[0].case["words"] == []
    shown = capsys.readouterr().out
    assert "status 3" in shown
    assert "1 x left out: no time" in shown
    assert "peak memory" in shown  # the targets
    assert "out of luck" in (tmp_path / "logs" / "bad.txt").read_text()


def test_who_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path, benchmarks, monkeypatch, capsys
):
    """Its children too, in its group and in sessions of their own, as torchrun's workers are."""
    benchmarks(
        "slow",
        f"""
import subprocess, time
children = [subprocess.Popen(["sleep", "60"], start_new_session=apart) for apart in (False, True)]
with open({str(tmp_path / "children")!r}, "w") as file:
    file.write(" ".join(str(child.pid) for child in children))
time.sleep(60)
""",
    )
    benchmarks("late", WRITES)
    monkeypatch.setattr(every, "ON_CPU", (Part("slow", 0.9), Part("late", 1e-9)))
    began = time.monotonic()
    assert main(["--out", str(tmp_path), "--minutes", str(1.5 / 60)]) == 1
    assert time.monotonic() - began < 30
    shown = capsys.readouterr().out
    assert "ended after" in shown
    assert "left out: the time was up" in shown
    children = [int(number) for number in (tmp_path / "children").read_text().split()]
    end = time.monotonic() + 20  # a signal takes its time
    while any(_runs(child) for child in children) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(_runs(child) for child in children)


def _runs(process: int) -> bool:
    """Nobody may have waited for it yet: then it is a zombie."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_only_those_that_are_named(tmp_path, benchmarks, monkeypatch, capsys):
    benchmarks("good", WRITES)
    benchmarks("other", "raise SystemExit(1)")
    monkeypatch.setattr(every, "ON_CPU", (Part("good", 0.5), Part("other", 0.5)))
    assert main(["--out", str(tmp_path), "--only", "good"]) == 0
    assert not (tmp_path / "other-cpu.jsonl").exists()
    assert main(["--out", str(tmp_path), "--only", "good", "goood"]) == 2
    assert "goood" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["raise SystemExit(1)", "import time; time.sleep(60)"])
def test_results_of_an_earlier_run_stay_if_this_one_fails(
    tmp_path, benchmarks, monkeypatch, capsys, ending
):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 112, "peer": "ours"}
    earlier = [Result("training", case, {"ratio": 1.5}, {})]
    write_results(tmp_path / "bad-cpu.jsonl", earlier)
    benchmarks("bad", WRITES + ending)
    monkeypatch.setattr(every, "ON_CPU", (Part("bad", 1.0),))
    assert main(["--out", str(tmp_path), "--minutes", str(1.5 / 60)]) == 1
    assert read_results(tmp_path / "bad-cpu.jsonl") == earlier
    assert len(read_results(tmp_path / "logs" / "bad-cpu.jsonl")) == 2
    shown = capsys.readouterr().out
    assert "1 x left out" in shown  # the table tells of this run
    assert shown.rstrip().endswith("met, from an earlier run")
    row = dataclasses.asdict(earlier[0]) | {"values": {"ratio": 1.6}}
    benchmarks("bad", f"import sys\nopen(sys.argv[-1], 'w').write({json.dumps(row)!r})")
    assert main(["--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("1.60x  met")


@pytest.mark.parametrize("parts", [ON_CPU, ON_GPU])
def test_the_last_one_has_its_time_although_all_others_are_ended(parts):
    left = 540.0
    for number, part in enumerate(parts):
        seconds, limit = every.times_of(parts, number, left, 540.0)
        assert seconds <= limit + 1e-9 <= left + 2e-9
        assert limit >= 0.79 * part.share * 540
        left -= limit
    assert every.times_of(parts, 0, 540.0, 540.0)[1] > 1.2 * parts[0].share * 540


def test_some_results_are_better_than_none(tmp_path, benchmarks, monkeypatch):
    benchmarks("bad", WRITES + "raise SystemExit(1)")
    parts = (Part("bad", 0.5), Part("bad", 0.5, variant="again", with_data=True))
    monkeypatch.setattr(every, "ON_CPU", parts)
    assert main(["--out", str(tmp_path)]) == 1
    assert len(read_results(tmp_path / "bad-cpu.jsonl")) == 2
    (again, _) = read_results(tmp_path / "bad-cpu-again.jsonl")
    assert "--data" in again.case["words"]


class ParsedError(Exception):
    """Instead of the benchmark."""


@pytest.mark.parametrize(("device", "parts"), [("cpu", ON_CPU), ("cuda", ON_GPU)])
@pytest.mark.parametrize("quick", [False, True])
def test_shares_fit_the_time_and_words_fit_the_benchmarks(device, parts, quick, monkeypatch):
    assert len({part.full_name for part in parts}) == len(parts)
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, words=None):
        raise ParsedError(parse(parser, words))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    for part in parts:
        module = importlib.import_module(f"benchmarks.{part.name}")
        with pytest.raises(ParsedError) as parsed:
            module.main([*words_of(part, quick, device, 60, Path("d")), "--output", "rows.jsonl"])
        (options,) = parsed.value.args
        assert str(options.output) == "rows.jsonl"
        assert getattr(options, "device", device) == device
        assert getattr(options, "data", None) == (Path("d") if part.with_data else None)
        if part.timed:
            assert options.minutes == pytest.approx(every.SAID)
