from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.training.processes.distributed import Processes
from tdn.training.profiling import StepProfiler, StepRange, parse_steps
from tdn.training.saving.run_folder import RunFolder
from tdn.training.trainer import TrainingResult, train
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.runs import ask_to_stop, assert_same, events

EVERY_STEP = [
    "waiting for data",
    "forward",
    "loss",
    "backward and averaging gradients",
    "updating weights",
    "metrics",
    "waiting for the other processes or the device",
]


def run(folder: Path, profile: str | None = None, **settings: object) -> TrainingResult:
    return train(tiny_config(str(folder), **settings), profile)


def ranges(trace: Path) -> list[str]:
    """The steps and phases of a trace, in order of time."""
    content = json.loads(gzip.decompress(trace.read_bytes()))
    found = [e for e in content["traceEvents"] if e.get("cat") == "user_annotation"]
    names = [e["name"] for e in sorted(found, key=lambda event: event["ts"])]
    return [name for name in names if "#" not in name or "Profiler" in name]


def test_a_profile_has_its_steps_and_their_phases_and_changes_nothing(tmp_path, tiny, capsys):
    plain = run(tmp_path / "plain", training__log_every=100)
    capsys.readouterr()
    profiled = run(tmp_path / "profiled", "3..4", training__log_every=100)
    assert_same(plain.last, profiled.last)
    lines = [
        [(line["step"], line["loss"], line["gradient_norm"]) for line in events(folder, "train")]
        for folder in (tmp_path / "plain", tmp_path / "profiled")
    ]
    assert lines[0] == lines[1]
    folder = tmp_path / "profiled" / "profile"
    trace, table = sorted(folder.iterdir())
    seen = ranges(trace)
    assert [name for name in seen if name.startswith("Profiler")] == [
        "ProfilerStep#1",
        "ProfilerStep#2",
    ]
    assert [name for name in seen if not name.startswith("Profiler")] == 2 * EVERY_STEP
    text = table.read_text()
    assert text in capsys.readouterr().out
    assert all(phase in text for phase in EVERY_STEP)
    assert "aten::addmm" in text
    assert len(text) < 2500


def test_a_profile_may_begin_at_once_and_go_over_an_epoch_s_end(tmp_path, tiny):
    run(tmp_path, "1..6")
    (trace,) = (tmp_path / "profile").glob("*.json.gz")
    seen = ranges(trace)
    assert len([name for name in seen if name.startswith("Profiler")]) == 6
    for phase in ("reporting", "saving", "validating"):
        assert phase in seen
    assert seen.count("forward") == 6


def test_steps_are_counted_from_the_session_s_start(tmp_path, tiny, caplog):
    tiny.hooks["train"] = ask_to_stop((1, 2))
    stopped = run(tmp_path)
    tiny.hooks.clear()
    left = 15 - stopped.step
    assert run(tmp_path, f"2..{left}").completed
    (trace,) = (tmp_path / "profile").glob("*.json.gz")
    assert ranges(trace).count("forward") == left - 1
    assert not caplog.records


@pytest.mark.parametrize(("steps", "recorded"), [("2..9", ["steps-2-3"]), ("5..9", [])])
def test_the_same_command_goes_on_where_fewer_steps_are_left(
    tmp_path, tiny, caplog, steps, recorded
):
    """Or torchrun has started it again: what is past the end is left out, with a warning."""
    tiny.hooks["train"] = ask_to_stop((2, 1))
    assert run(tmp_path).step == 12
    tiny.hooks.clear()
    assert run(tmp_path, steps).completed
    (warning,) = caplog.messages
    assert f"--profile: {steps}" in warning
    assert "3 steps" in warning
    traces = [path.name for path in tmp_path.glob("profile/*.json.gz")]
    assert traces == [f"{name}-process-0.json.gz" for name in recorded]


def test_what_a_stopped_run_has_recorded_is_there(tmp_path, tiny):
    tiny.hooks["train"] = ask_to_stop((0, 3), signal.SIGTERM)
    assert run(tmp_path, "2..9").step == 4
    (trace,) = (tmp_path / "profile").glob("*.json.gz")
    assert ranges(trace).count("forward") == 3
    tiny.hooks["train"] = ask_to_stop((1, 0), signal.SIGTERM)
    assert run(tmp_path, "5..6").step == 6
    assert len(list((tmp_path / "profile").glob("*.json.gz"))) == 1


def test_a_failing_run_fails_as_it_would_without(tmp_path, tiny):
    def fail(epoch: int, step: int) -> None:
        if step == 3:
            raise ConnectionError("storage went away")

    tiny.hooks["train"] = fail
    with pytest.raises(ConnectionError):
        run(tmp_path, "2..9")
    assert not (tmp_path / "profile").exists()
    tiny.hooks.clear()
    assert run(tmp_path, "1..2", training__resume="none").completed  # it has let go of the profiler


def test_a_range_past_the_end_is_refused_before_anything_is_trained(tmp_path, tiny):
    with pytest.raises(UserError, match=r"--profile: 10\.\.16.*15"):
        run(tmp_path, "10..16")
    assert not (tmp_path / "log.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, tiny):
    (tmp_path / "profile").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "profile")) as error:
        run(tmp_path, "1..2")
    assert "\n" not in str(error.value)


@given(first=st.integers(1, 10**6), more=st.integers(0, 10**6))
def test_ranges_are_read(first, more):
    assert parse_steps(f"{first}..{first + more}") == StepRange(first, first + more)


@given(
    st.sampled_from(["5", "5-6", "..", "1..", "..2", "0..3", "3..2", "1...2", "1..2..3", "a..b"])
    | st.text(max_size=8).filter(lambda text: ".." not in text)
)
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UserError, match=r"--profile.*10\.\.15") as error:
        parse_steps(text)
    assert "\n" not in str(error.value)


def test_after_its_steps_it_costs_nothing(tmp_path):
    processes = Processes(rank=0, world_size=1, device=torch.device("cpu"))
    with StepProfiler(StepRange(1, 1), 5, False, tmp_path / "profile", processes) as profiler:
        profiler.begin_step()
        assert processes.whereabouts.followers
        profiler.begin_step()
        assert not processes.whereabouts.followers
        assert not torch.autograd._profiler_enabled()


def test_without_a_range_nothing_is_recorded(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(StepProfiler, "_start", None)
    run(tmp_path)
    assert not RunFolder(tmp_path).profile.exists()
    assert not torch.autograd._profiler_enabled()
