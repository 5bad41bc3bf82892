from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from matplotlib import pyplot

from benchmarks import charts
from benchmarks.harness.rows import Result, write_results
from benchmarks.pages.plots import PLOTS
from benchmarks.pages.remedies import remedies
from benchmarks.pages.tables import NOTHING, TABLES

WHERE = {"device": "CPU", "cpus": 2, "torch": "2.13.0", "commit": "abc", "date": "2026-01-02T03"}


def step(peer="ours", ratio=2.0):
    case = {"model": "tdn_resnet50", "segments": 8, "pixels": 112, "clips": 1}
    case |= {"peer": peer, "precision": "fp32"}
    values = {"ms": 12.0, "ratio": ratio, "cpu_ratio": 1.5, "kept_mb": 100.0}
    return Result("training", case, values, WHERE)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Pages and results, in place of the product's."""
    (tmp_path / "docs").mkdir()
    pages = {tmp_path / "README.md": ("targets",), tmp_path / "docs" / "all.md": tuple(TABLES)}
    for page, names in pages.items():
        marks = [
            f"<!-- {name}: made by benchmarks.charts -->\nold\n<!-- end of {name} -->"
            for name in names
        ]
        page.write_text("Head\n" + "\n".join(marks) + "\nTail\n")
    monkeypatch.setattr(charts, "PAGES", pages)
    monkeypatch.setattr(charts, "RESULTS", tmp_path / "results")
    write_results(tmp_path / "results" / "training-cpu.jsonl", [step("released code", 1.0), step()])
    return tmp_path


def test_what_was_measured_is_shown_and_what_was_not_is_said(place):
    assert charts.main([]) == 0
    assert "| not measured |" in (place / "README.md").read_text()
    text = (place / "docs" / "all.md").read_text()
    assert text.startswith("Head\n")
    assert text.endswith("Tail\n")
    assert "| tdn_resnet50 | 8 | 112 | 1 | ours | fp32 | 12 | 2.00 | 1.50 | 100 |" in text
    assert "CPU, 2 cores, torch 2.13.0, commit abc, 2026-01-02" in text
    always = {"targets", "unmeasured", "epochs"}
    assert text.count(NOTHING) == len(TABLES) - len(always) - len({"training", "split"})
    assert "On a GPU **nothing**" in text
    assert "not drawn" not in text
    assert "(../results/training.svg)" in text
    drawn = ET.parse(place / "results" / "training.svg").getroot()
    texts = {
        "".join(element.itertext()) for element in drawn.iter() if element.tag.endswith("text")
    }
    assert any("ours" in text for text in texts)
    assert not (place / "results" / "pipeline.svg").exists()
    assert "pipeline.svg" not in text


def test_machines_that_are_in_no_chart_stand_below_it(place):
    on_gpu = Result("training", step().case, step().values, WHERE | {"device": "GPU"})
    write_results(place / "results" / "training-gpu.jsonl", [on_gpu])
    assert charts.main([]) == 0
    text = (place / "docs" / "all.md").read_text()
    _, chart = text.split("(../results/training.svg)\n\n")
    assert chart.startswith("In the table alone, not drawn: CPU.\n")
    assert "CPU, 2 cores" in text


def test_whatever_is_out_of_date_is_found(place, capsys):
    assert charts.main(["--check"]) == 1
    charts.main([])
    assert charts.main(["--check"]) == 0
    write_results(place / "results" / "training-cpu.jsonl", [step(ratio=2.1)])
    capsys.readouterr()
    assert charts.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "training.svg" in told
    assert "README.md" in told
    (place / "results" / "training-cpu.jsonl").unlink()
    assert charts.main(["--check"]) == 1


def test_a_chart_that_was_changed_or_drawn_by_other_code_is_found(place, capsys, monkeypatch):
    charts.main([])
    chart = place / "results" / "training.svg"
    drawn = chart.read_text()
    chart.write_text(drawn.replace("<path ", "<path  ", 1))
    assert charts.main(["--check"]) == 1
    assert "was changed" in capsys.readouterr().err
    chart.write_text(drawn)
    assert charts.main(["--check"]) == 0
    code = place / "plots.py"
    code.write_text("other")
    monkeypatch.setattr(charts.plots, "__file__", str(code))
    assert charts.main(["--check"]) == 1
    assert "plots.py" in capsys.readouterr().err


def test_what_failed_stands_in_the_table_and_machines_are_apart():
    wrong = Result("training", step("b").case, {"wrong": "loss 3 | 4"}, WHERE)
    elsewhere = Result("training", step().case, step(ratio=7.0).values, WHERE | {"threads": 9})
    doubtful = Result("training", step("c").case, {"ms": 3.0, "doubtful": True}, WHERE)
    here, caption, there, _ = TABLES["training"]([step(), wrong, elsewhere, doubtful]).split("\n\n")
    assert "CPU, 2 cores" in caption
    assert "| b | fp32 | - | - | - | - | **wrong**: loss 3 / 4 |" in here
    assert "| c | fp32 | 3 | - | - | - | others used the machine |" in here
    assert "7.00" in there
    assert "7.00" not in here


def from_files(source, cache, **values):
    case = {"model": "tdn_resnet18", "segments": 8, "pixels": 64, "source": source, "cache": cache}
    return Result("from_files", case, values, WHERE)


def test_what_was_not_measured_is_a_sentence_for_each_reason():
    measured = {"files_ms": 3.0, "stall_percent": 1.0}
    rows = [
        from_files("jpeg", "warm", **measured),
        from_files("jpeg", "cold", left_out="no time"),
        from_files("vp9", "warm", left_out="no time"),
        from_files("vp9", "cold", absent="pip install vp9"),
    ]
    drawn, *sentences, _ = TABLES["from_files"](rows).split("\n\n")
    assert len(drawn.splitlines()) == 3
    assert "- (- to -)" not in drawn
    assert sentences == [
        "Not measured (no time): jpeg cold, vp9 warm.",
        "Absent: vp9 cold.",
    ]
    assert TABLES["from_files"](rows[1:3]).startswith("Not measured (no time).\n\n")


def read(source, contestant, **values):
    case = {"source": source, "segments": 8, "contestant": contestant}
    return Result("pipeline", case, values, WHERE)


def test_messages_of_errors_stand_in_the_results_only_and_peers_that_lack_are_named_once():
    reason = "OSError: lib.so: no such file"
    speed = {"clips_per_s": 3.0, "doubtful": True}
    rows = [
        *(read("vp9", "ours", **speed), read("h264", "ours", **speed)),
        *(read("vp9", "a", absent=reason), read("h264", "a", absent=f"{reason} or folder")),
        *(read("vp9", "b", absent=reason), read("h264", "b", **speed)),
    ]
    drawn, doubt, absent, _ = TABLES["pipeline"](rows).split("\n\n")
    assert absent == "Absent: a, vp9 b."
    assert doubt == "Others used the machine meanwhile."
    assert "others" not in drawn
    failed = TABLES["pipeline"]([*rows, read("av1", "ours", error=reason)])
    assert "**error**: OSError |" in failed
    assert "others used the machine |" in failed


def test_what_lacks_on_a_device_is_named():
    failed = Result("kernels", {}, {"error": "no"}, WHERE | {"cuda": "13"})
    on_gpu, on_cpu = TABLES["unmeasured"]([failed, step()]).splitlines()
    assert "**nothing**" in on_gpu
    assert "kernels" in on_gpu
    assert on_cpu.startswith("Not yet on a CPU: roofline")
    assert "training steps" not in on_cpu
    left_out = Result("training", dict(step().case, segments=16), {"left_out": "no time"}, WHERE)
    told = TABLES["unmeasured"]([step(), left_out])
    assert "training steps (1 of 2 cases)" in told
    assert "training steps," in TABLES["unmeasured"]([step("released code")])


def grown(along, number, benchmark="growth", **given):
    case = {"along": along} if benchmark == "growth" else {}
    return Result(benchmark, case | {along: number}, given, WHERE)


def test_charts_of_growth_show_what_there_is(tmp_path):
    memory = [grown("segments", number, ms=1.0, kept_mb=5.0) for number in (8, 16)]
    workers = [grown("workers", number, clips_per_s=9.0) for number in (1, 2)]
    written = {"write_s": 1.0, "open_s": 0.1, "first_epoch_s": 0.2}
    manifest = [grown("clips", number, "manifest", **written) for number in (10, 100)]
    charts.write_charts([*memory, *workers, *manifest], tmp_path)
    names = {file.stem for file in tmp_path.glob("*.svg")}
    assert names == {"growth", "memory", "workers", "manifest"}
    assert PLOTS["memory"].select([*memory, *workers]) == memory
    assert PLOTS["workers"].select([*memory, *workers]) == workers
    charts.write_charts([*memory, workers[0]], tmp_path)  # a dot is no chart
    assert {file.stem for file in tmp_path.glob("*.svg")} == {"growth", "memory"}


def test_the_chart_of_scaling_shows_what_is_projected_too():
    rows = [
        Result("scaling", {"row": row, "scaling": "weak", "processes": n}, {"efficiency": e}, WHERE)
        for row, n, e in (("measured", 1, 1.0), ("projected", 1, 1.0), ("projected", 1024, 0.7))
    ]
    _, axes = pyplot.subplots()
    PLOTS["scaling"].paint(axes, PLOTS["scaling"].select(rows))
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"measured": [100], "projected": [100, 70]}
    pyplot.close()


def test_a_table_without_a_place_is_named():
    with pytest.raises(ValueError, match="targets"):
        charts.with_tables("no marks", {"targets": TABLES["targets"]}, [])


def test_a_result_without_times_is_in_no_chart():
    failed = Result("training", step().case, {"error": "no"}, WHERE)
    assert PLOTS["training"].select([failed]) == []
    elsewhere = Result("training", step().case, step().values, WHERE | {"device": "GPU"})
    assert PLOTS["training"].select([step(), elsewhere]) == [elsewhere]


def test_the_product_s_charts_and_tables_are_current():
    assert charts.main(["--check"]) == 0


def test_a_remedy_is_two_results_of_one_machine():
    def threads(count, clips_per_s, where=WHERE):
        case = {"along": "workers", "workers": count}
        return Result("growth", case, {"clips_per_s": clips_per_s}, where)

    text = remedies([threads(1, 40.0), threads(2, 60.0), step("released code"), step()])
    assert "| clips/s | 40 | 60 | 1.50 |" in text
    assert "| ms a step | 12 | 12 | 1.00 |" in text
    assert len(text.splitlines()) == 2 + 2 + 2  # head, two remedies, the machine
    elsewhere = threads(2, 60.0, WHERE | {"device": "GPU"})
    assert remedies([threads(1, 40.0), elsewhere]) == NOTHING
