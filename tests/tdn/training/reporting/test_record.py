from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.training.reporting.record import JsonLines
from tests.tdn.training.reporting.events import steps_in, train_event


def write(path, steps, start=0):
    sink = JsonLines(path, start)
    for step in steps:
        sink.write(train_event(step))
    sink.close()


@settings(max_examples=30)
@given(written=st.integers(0, 12), resumed=st.integers(0, 12), more=st.integers(0, 4))
def test_a_resumed_log_has_every_step_once(tmp_path_factory, written, resumed, more):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write(path, range(1, written + 1))
    write(path, range(resumed + 1, resumed + more + 1), start=resumed)
    kept = list(range(1, min(written, resumed) + 1))
    assert steps_in(path) == kept + list(range(resumed + 1, resumed + more + 1))


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    path.write_text(path.read_text() + '{"event": "train", "st')
    write(path, [3], start=2)
    assert steps_in(path) == [1, 2, 3]


def test_lines_are_on_disk_at_once_and_always_json(tmp_path):
    sink = JsonLines(tmp_path / "log.jsonl", 0)
    sink.write(train_event(1, gradient_norm=float("inf"), loss=float("nan")))
    line = json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["gradient_norm"] is None
    assert line["loss"] is None
    assert line["top1"] == 50
    sink.close()
