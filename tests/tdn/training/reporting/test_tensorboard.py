from __future__ import annotations

import errno
import os
import threading

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from tdn.training.reporting.journal import Journal
from tdn.training.reporting.tensorboard import TensorBoard
from tdn.training.saving.run_folder import RunFolder
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.reporting.events import train_event
from tests.tdn.training.runs import run


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


@pytest.mark.parametrize("after", [1, 5])
def test_a_disk_that_is_full_costs_the_curves_but_not_the_run(
    tmp_path, tiny, monkeypatch, caplog, after
):
    """The next start draws them all."""
    written, write = [], RecordWriter.write

    def full(self: RecordWriter, data: bytes) -> None:
        written.append(data)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", full)
    settings = {"logging__tensorboard": True, "training__log_every": 1}
    shown: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    hook = threading.excepthook
    assert run(tmp_path, training__epochs=2, **settings).completed
    assert threading.excepthook is hook
    assert not shown
    (message,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert str(tmp_path / "tensorboard") in message
    assert "No space left" in message
    monkeypatch.setattr(RecordWriter, "write", write)
    run(tmp_path, training__epochs=3, **settings)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [point.step for point in curves.Scalars("train/loss")] == list(range(1, 16))
