from __future__ import annotations

import dataclasses
import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import scaling
from benchmarks.harness.rows import read_results
from benchmarks.processes.inputs import NAMES, Value, collect, inputs_of, setting
from benchmarks.processes.links import Links
from benchmarks.processes.measurement import Case, Split, Turns, Work, cases, spread
from benchmarks.processes.projection import (
    BUCKET,
    Inputs,
    largest_normal,
    project,
    project_strong,
)
from benchmarks.scaling import counts, doubts, main, measured_row

H100 = Inputs(
    alone=0.08,
    work=0.1,
    backward=0.06,
    spread=0.0,
    clips=8,
    gradient_bytes=4.0 * BUCKET,
    node_processes=8,
    node_bandwidth=1e9 * BUCKET / 1e6,
    node_latency=0.0,
    link_bandwidth=1e8 * BUCKET / 1e6,
    link_latency=0.0,
    step_clips=64,
    epoch_clips=160_000,
    clip_bytes=1e5,
    clip_cpu=0.03,
)
"""A bucket takes 1 ms of a process's neighbours and 10 ms of a node's link."""
positive = st.floats(1e-6, 1e3)


def test_a_step_by_hand():
    """Averaging within: 2 x 7/8 x 4 buckets x 1 ms; between two nodes: 2 x 1/2 x 4 x 10 ms."""
    found = project(dataclasses.replace(H100, spread=0.002), 16)
    assert found.nodes == 2
    assert found.averaging == pytest.approx(0.007 + 0.040)
    assert found.exposed == pytest.approx(0.00175 + 0.010)  # the last bucket; the rest hides
    assert found.late == pytest.approx(0.002 * 1.77, rel=0.01)
    assert found.step == pytest.approx(0.1 + 0.01175 + found.late)
    assert found.clips_per_s == pytest.approx(16 * 8 / found.step)
    assert found.storage == pytest.approx(found.clips_per_s * 1e5)
    assert found.cores == pytest.approx(found.clips_per_s / 2 * 0.03)
    assert found.epoch == pytest.approx(160_000 / found.clips_per_s)


def test_what_the_backward_pass_does_not_hide_is_waited_for():
    found = project(dataclasses.replace(H100, backward=0.02), 16)
    assert found.exposed == pytest.approx(0.047 - 0.02)


def test_every_bucket_waits_for_every_hop():
    """Two nodes of two: a ring of 2 hops within, a tree of 2 between."""
    slow = dataclasses.replace(
        H100, node_processes=2, node_latency=0.001, link_latency=0.01, backward=0.0
    )
    free = dataclasses.replace(slow, node_latency=0.0, link_latency=0.0)
    waits = project(slow, 4).averaging - project(free, 4).averaging
    assert waits == pytest.approx(4 * (2 * 0.001 + 2 * 0.01))


@settings(max_examples=50)
@given(
    st.builds(
        Inputs,
        alone=st.just(1e-7),
        work=positive,
        backward=positive,
        spread=positive,
        clips=st.integers(1, 64),
        gradient_bytes=st.floats(1, 1e10),
        node_processes=st.sampled_from([1, 2, 4, 8]),
        node_bandwidth=st.floats(1e6, 1e12),
        node_latency=positive,
        link_bandwidth=st.floats(1e6, 1e12),
        link_latency=positive,
        step_clips=st.integers(1, 10**4),
        epoch_clips=st.integers(1, 10**7),
        clip_bytes=positive,
        clip_cpu=positive,
    )
)
def test_more_processes_never_make_a_step_faster(inputs):
    found = [project(inputs, count) for count in counts(1024)]
    assert found[0].step == inputs.alone
    assert found[0].efficiency == 1
    steps = [each.step for each in found]
    assert all(b >= a * (1 - 1e-9) for a, b in pairwise(steps))
    assert all(each.step == pytest.approx(inputs.alone / each.efficiency) for each in found)


def test_what_a_full_node_takes_from_its_processes_counts_from_two_on():
    free = dataclasses.replace(H100, gradient_bytes=0.0)
    assert project(free, 1).efficiency == 1
    assert project(free, 8).efficiency == pytest.approx(0.08 / 0.1)


def test_the_clips_of_a_step_are_divided():
    """Sixteen processes of 4 clips each: half of the work, and the same gradients."""
    weak, strong = project(H100, 16), project_strong(H100, 16)
    assert strong.step - strong.exposed == pytest.approx((weak.step - weak.exposed) / 2)
    assert strong.exposed >= weak.exposed
    assert strong.clips_per_s == pytest.approx(64 / strong.step)
    assert project_strong(H100, 64).clips_per_s > 0
    assert project_strong(H100, 128) is None


@pytest.mark.parametrize("count", [1, 2, 8, 64, 1024])
def test_the_slowest_of_many(count):
    draws = np.random.default_rng(0).standard_normal((2000, count)).max(axis=1)
    assert largest_normal(count) == pytest.approx(draws.mean(), abs=0.06)


def test_cases_are_powers_of_two_and_all_and_divide_the_clips():
    found = cases(6, clips=12)
    assert [(each.processes, each.clips) for each in found if each.scaling == "weak"] == [
        (count, 12) for count in (1, 2, 4, 6)
    ]
    assert [(each.processes, each.clips) for each in found if each.scaling == "strong"] == [
        (2, 6), (4, 3), (6, 2)
    ]  # fmt: skip
    assert [each.processes for each in cases(3, clips=4)] == [1, 2, 3, 2]


def test_spread_is_a_standard_deviation_that_a_pause_does_not_change():
    times = np.random.default_rng(0).normal(1, 0.1, 999).tolist()
    assert spread([*times, 1000.0]) == pytest.approx(statistics.stdev(times), rel=0.1)
    assert spread([1.0]) == 0


def test_efficiency_is_by_rounds_and_by_clips():
    """The machine gets slower in the second round, and both cases with it."""
    one, weak, strong = Case("weak", 1, 8), Case("weak", 2, 8), Case("strong", 2, 4)
    splits = {
        "together": [Split(0.3, 0.6, 0.2), Split(0.6, 1.2, 0.4), Split(0.3, 0.6, 0.2)],
        "apart": [Split(0.3, 0.5, 0.2), Split(0.6, 1.1, 0.4), Split(0.3, 0.5, 0.2)],
    }
    turns = {
        one: Turns([1.0, 2.0, 1.0], [1.0, 2.0, 1.0], splits),
        weak: Turns([1.25, 2.5, 1.25], [1.0, 2.0, 1.0], splits),
        strong: Turns([1.0, 2.0, 1.0], [0.5, 1.0, 0.5], splits),
    }
    rows = [measured_row(case, turns, H100) for case in turns]
    assert [row["efficiency"] for row in rows] == [1, 0.8, 0.5]
    assert [row["efficiency_apart"] for row in rows] == [1, 1, 1]
    assert [row["clips_per_s"] for row in rows] == [8, 12.8, 8]
    assert rows[2]["efficiency_projected"] < rows[1]["efficiency_projected"] < 1
    parts = ("forward_ms", "backward_ms", "all_reduce_ms", "update_ms")
    assert [rows[1][part] for part in parts] == [300, 500, 100, 200]
    assert "all_reduce_ms" not in rows[0]


def test_what_is_given_counts_before_what_is_measured_and_that_before_what_is_assumed():
    work = Work(alone=0.15, step=0.2, backward=0.1, spread=0.01, gradient_bytes=100)
    links = Links(2, 1e9, 1e-4, None, None)
    values = collect(work, 8, links, {"backward": Value(0.05, "given")}, "cuda")
    assert tuple(values) == NAMES
    assert values["work"] == (0.2, "measured here")
    assert values["backward"] == (0.05, "given")
    assert values["node_bandwidth"] == (1e9, "measured here")
    assert values["link_bandwidth"].origin.startswith("assumed")
    assert inputs_of(values).backward == 0.05


def test_a_projection_that_is_far_off_or_of_a_busy_machine_says_so():
    values = {"spread": Value(0.02, ""), "work": Value(0.1, "")}
    row = {"scaling": "weak", "processes": 2, "efficiency": 0.57, "efficiency_projected": 0.96}
    off, noise, cpu = doubts(values, [row], "cpu")
    assert "39 points above" in off
    assert "20 %" in noise
    assert "CPUs" in cpu
    calm = {"spread": Value(0.001, ""), "work": Value(0.1, "")}
    assert doubts(calm, [row | {"efficiency": 0.9}], "cuda") == []


@pytest.mark.parametrize(
    "text",
    ["speed=1", "work", "work=", "work=0", "work=nan", "work=inf", "node_processes=0.5"],
)
def test_a_wrong_input_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["--set", text])
    assert text in capsys.readouterr().err
    assert setting("link_bandwidth=25e9") == ("link_bandwidth", (25e9, "given"))


def test_mistakes_are_told_before_processes_are_started(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling.torch.cuda, "device_count", lambda: 0)
    assert main(["--device", "cuda"]) == 2
    assert main(["--manifest", str(tmp_path / "none.arrow")]) == 2
    assert main(["--preflight", str(tmp_path / "none.json")]) == 2
    wrong = tmp_path / "wrong.json"
    for text in ("{}", "[]", '{"links": 1}', '{"links": {"node_latency": []}}'):
        wrong.write_text(text)
        assert main(["--preflight", str(wrong)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 7
    for words in (["--rounds", "0"], ["--processes", "-1"], ["--up-to", "x"]):
        with pytest.raises(SystemExit):
            main(words)


def test_two_processes_are_measured_and_1024_projected(tmp_path, capfd):
    output = tmp_path / "rows.jsonl"
    words = ["--rounds", "1", "--steps", "1", "--batch-size", "2", "--output", str(output)]
    assert main([*words, "--set", "link_bandwidth=1e9", "--set", "node_processes=2"]) == 0
    rows = [result.row for result in read_results(output)]
    kinds = {
        kind: [row for row in rows if row["row"] == kind]
        for kind in ("input", "measured", "projected")
    }
    assert tuple(row["name"] for row in kinds["input"]) == NAMES
    measured = [(row["scaling"], row["processes"], row["clips"]) for row in kinds["measured"]]
    assert measured == [("weak", 1, 2), ("weak", 2, 2), ("strong", 2, 1)]
    assert min(row["step"] for row in kinds["measured"]) > 0
    assert min(row["backward_ms"] for row in kinds["measured"]) > 0
    last = [row for row in kinds["projected"] if row["scaling"] == "weak"][-1]
    assert (last["processes"], last["nodes"]) == (1024, 512)
    given = {row["name"]: row["number"] for row in kinds["input"]}
    again = project(inputs_of({name: Value(given[name], "") for name in NAMES}), 1024)
    assert last["step"] == pytest.approx(again.step)
    shown = capfd.readouterr().out
    assert all(name in shown for name in NAMES)
    assert math.isfinite(last["epoch"])
