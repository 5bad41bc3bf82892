from __future__ import annotations

import sys

import pytest

from benchmarks import all as every
from benchmarks.all import Part, main
from benchmarks.rows import Result, read_results, write_results


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
    benchmarks("bad", "print('out of luck'); raise SystemExit(3)")
    benchmarks("slow", "import time; time.sleep(60)")
    benchmarks("last", WRITES)
    parts = (
        Part("bad", 0.1),
        Part("slow", 0.01, timed=False),
        Part("good", 0.5, ("--a", "1"), ("--less",)),
        Part("last", 0.1, timed=False),
    )
    monkeypatch.setattr(every, "ON_CPU", parts)
    assert main(["--out", str(tmp_path), "--minutes", "1", "--quick"]) == 1
    words = read_results(tmp_path / "good-cpu.jsonl")[0].case["words"]
    assert words == ["--a", "1", "--less", "--device", "cpu", "--minutes", "0.40"]
    assert read_results(tmp_path / "last-cpu.jsonl")[0].case["words"] == ["--device", "cpu"]
    shown = capsys.readouterr().out
    assert "status 3" in shown
    assert "ended after 1 s" in shown
    assert "1 x left out: no time" in shown
    assert "out of luck" in (tmp_path / "logs" / "bad.txt").read_text()


def test_all_is_well(tmp_path, benchmarks, monkeypatch):
    benchmarks("good", WRITES)
    benchmarks("other", "raise SystemExit(1)")
    monkeypatch.setattr(every, "ON_CPU", (Part("good", 0.5), Part("other", 0.5)))
    assert main(["--out", str(tmp_path), "--only", "good"]) == 0
    assert not (tmp_path / "other-cpu.jsonl").exists()


def test_results_of_an_earlier_run_are_not_taken_for_this_one_s(tmp_path, benchmarks, monkeypatch):
    write_results(tmp_path / "bad-cpu.jsonl", [Result("x", {}, {"ms": 1.0}, {})])
    benchmarks("bad", "raise SystemExit(1)")
    monkeypatch.setattr(every, "ON_CPU", (Part("bad", 1.0),))
    assert main(["--out", str(tmp_path)]) == 1
    assert not (tmp_path / "bad-cpu.jsonl").exists()


@pytest.mark.parametrize("parts", [every.ON_CPU, every.ON_GPU])
def test_shares_fit_the_time_and_words_fit_the_benchmarks(parts, capsys):
    assert sum(part.share for part in parts) <= 1.0
    for part in parts:
        module = __import__(f"benchmarks.{part.name}", fromlist=["main"])
        for words in (part.words, (*part.words, *part.quick)):
            sys.modules.pop("unused", None)
            with pytest.raises(SystemExit) as end:  # options are read before --help ends it
                module.main([*words, "--help"])
            assert end.value.code == 0
    capsys.readouterr()
