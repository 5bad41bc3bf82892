from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tdn.errors import UserError
from tdn.training.logs import Console, Journal, JsonLines, TensorBoard
from tdn.training.run_folder import RunFolder
from tests.tdn.synthetic import tiny_config


def train_event(step: int, **values: object) -> dict:
    event = {
        "event": "train",
        "time": 1.5 * step,
        "step": step,
        "epoch": 1,
        "loss": 1.0,
        "top1": 50.0,
        "clips": 8,
    }
    return event | {"clips_per_second": 4.0, "data_wait": 3.0, "eta": 60.0} | values


def write(path, steps, start=0):
    sink = JsonLines(path, start)
    for step in steps:
        sink.write(train_event(step))
    sink.close()


def steps_in(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


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


def test_curves_are_those_of_the_record_after_a_kill_and_a_resumption(tmp_path, monkeypatch):
    """The killed process's curves end before its checkpoint, its record after it."""
    config = tiny_config(str(tmp_path), logging__tensorboard=True)
    folder = RunFolder(tmp_path)
    for start, steps in ((0, range(1, 9)), (4, range(5, 7))):
        with Journal(folder, config, 5, start, is_main=True) as journal:
            for step in steps:
                journal.record(**train_event(step, loss=float(100 * start + step)))
                if step == 2 and start == 0:
                    (writer,) = [s._writer for s in journal._sinks if isinstance(s, TensorBoard)]
                    writer.flush()
                    monkeypatch.setattr(writer, "add_scalar", lambda *_, **__: None)
            journal.record(**train_event(step) | {"event": "validation", "top5": 9, "best_top1": 9})
    curves = EventAccumulator(str(folder.tensorboard)).Reload()
    points = {point.step: point.value for point in curves.Scalars("train/loss")}
    assert points == {1: 1, 2: 2, 3: 3, 4: 4, 5: 405, 6: 406}
    assert [point.step for point in curves.Scalars("validation/top1")] == [6]
    sizes = sorted(path.stat().st_size for path in folder.tensorboard.iterdir())
    assert sizes[0] == 0 < sizes[1]


def test_a_viewer_forgets_what_was_drawn_twice(tmp_path):
    """One that read the killed process's curves and goes on with the new ones."""
    former = [train_event(step) for step in range(1, 9)]
    TensorBoard(tmp_path, former).close()
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "events.out.tfevents.1")  # names begin with the second
    viewer = EventAccumulator(str(tmp_path)).Reload()
    assert len(viewer.Scalars("train/loss")) == 8
    TensorBoard(tmp_path, former[:4]).close()
    assert [point.step for point in viewer.Reload().Scalars("train/loss")] == [1, 2, 3, 4]


def test_a_line_for_every_epoch_with_its_means(capsys):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False)
    console.write(train_event(2, loss=1.0, top1=10.0, clips=30, clips_per_second=30.0))
    console.write(train_event(4, loss=2.0, top1=50.0, clips=10, clips_per_second=10.0 / 3))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for text in ("1/2", "1.250", "20.0 %", "10.0 clips/s", "01:00"):
        assert text in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "progress", "bar"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_bar_on_terminals_only_and_only_if_wanted(
    tmp_path, monkeypatch, capsys, terminal, progress, bar
):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    config = tiny_config(str(tmp_path), logging__progress=progress)
    with Journal(RunFolder(tmp_path), config, 5, 7, is_main=True) as journal:
        for _ in range(3):
            journal.advance()
    shown = sys.stderr.getvalue()
    assert bool(shown) == bar


def test_the_bar_shows_where_the_run_is(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console(epochs=12, steps_per_epoch=5, show_bar=True)
    console._step = 7
    for _ in range(3):
        console.advance()
    console.write(train_event(10, epoch=2, loss=1.5))
    shown = sys.stderr.getvalue()
    for text in ("2/12", "loss 1.500", "4.0 clips/s", "data wait 3 %", "ETA 01:00"):
        assert text in shown


def test_a_full_disk_is_one_line(tmp_path, full_disk):
    config = tiny_config(str(tmp_path))
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=True) as journal:
        journal.record(**train_event(1))
        with full_disk(after=10), pytest.raises(UserError, match=str(tmp_path)) as error:
            journal.record(**train_event(2))
    assert "\n" not in str(error.value)
    assert steps_in(tmp_path / "log.jsonl") == [1]


def test_other_processes_write_nothing(tmp_path, capsys):
    config = tiny_config(str(tmp_path), logging__tensorboard=True)
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=False) as journal:
        journal.record(**train_event(5))
        journal.advance()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    assert capsys.readouterr().out == ""
