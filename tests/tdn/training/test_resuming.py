"""Going on exactly: from any step, after a kill, from the checkpoint before, in every record."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tdn.errors import UserError
from tdn.training import build, trainer
from tdn.training.saving import saver as saving
from tests.tdn.training.runs import ask_to_stop, assert_same, events, fail, run
from tests.tdn.training.saving.test_run_folder import damage

TIMES = (
    "time", "clips_per_second", "clips_per_second_each", "data_wait", "memory", "eta", "seconds"
)  # fmt: skip
"""What differs from one run to the next in any case."""


def record(folder: Path) -> list[dict]:
    """The log's train and validation lines without times."""
    lines = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    kept = [line for line in lines if line["event"] in ("train", "validation")]
    return [{key: line[key] for key in line if key not in TIMES} for line in kept]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        tag: [(point.step, point.value) for point in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
        if tag.split("/")[1] not in TIMES
    }


@pytest.mark.parametrize(
    "at", [(0, 0), (0, 1), (0, 3), (0, 4), (1, 0), (1, 2), (2, 4)], ids=lambda at: f"{at}"
)
@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_from_any_step_on_all_is_as_if_nothing_had_happened(tmp_path, tiny, how, at):
    """Weights, optimizer, best checkpoint, every line of the log and every curve."""
    settings = {
        "model__dropout": 0.5,
        "training__log_every": 3,
        "training__save_every_steps": 2,
        "logging__tensorboard": True,
    }
    whole = run(tmp_path / "whole", **settings)
    tiny.hooks["train"] = ask_to_stop(at) if how == "stopped" else fail(at)
    if how == "stopped":
        assert not run(tmp_path / "parts", **settings).completed
    else:
        with pytest.raises(ConnectionError):
            run(tmp_path / "parts", **settings)
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts", **settings)
    assert resumed.completed
    assert_same(whole.last, resumed.last)
    assert_same(whole.best, resumed.best)
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
    assert curves(tmp_path / "parts") == curves(tmp_path / "whole")


def test_checkpoints_are_written_every_so_many_steps(tmp_path, tiny):
    tiny.hooks["train"] = fail((1, 3))
    with pytest.raises(ConnectionError):
        run(tmp_path, training__save_every_steps=3, training__keep=3)
    checkpoints = {
        path.name: torch.load(path, weights_only=True)["step"]
        for path in (tmp_path / "checkpoints").iterdir()
    }
    assert checkpoints == {"last.pt": 6, "step-5.pt": 5, "step-3.pt": 3, "best.pt": 5}


def test_checkpoints_are_written_every_so_many_minutes(tmp_path, tiny, monkeypatch):
    """A minute for every step; the log has a line every two, and with it come the checkpoints."""
    minutes = 0

    def pass_time(*_: int) -> None:
        nonlocal minutes
        minutes += 1

    monkeypatch.setattr(trainer.time, "monotonic", lambda: 60.0 * minutes)
    saved = []
    write = saving.write_checkpoint
    monkeypatch.setattr(
        saving, "write_checkpoint", lambda *args: (saved.append(args[1]["step"]), write(*args))
    )
    tiny.hooks["train"] = pass_time
    run(tmp_path, data__train_list="100", training__epochs=1, training__save_every=3.5)
    assert saved == [4, 8, 12, 12, 12]  # the last epoch's: before and after validating, and best
    saved.clear()
    run(tmp_path, training__epochs=1, training__save_every=0, training__resume="none")
    assert saved == [5, 5, 5]


def test_a_damaged_last_checkpoint_costs_no_more_than_the_steps_since_the_one_before(
    tmp_path, tiny, caplog
):
    whole = run(tmp_path / "whole")
    tiny.hooks["train"] = ask_to_stop((1, 2))
    run(tmp_path / "parts", training__save_every_steps=2)
    last = tmp_path / "parts" / "checkpoints" / "last.pt"
    damage(last)
    tiny.hooks.clear()
    with caplog.at_level(logging.WARNING):
        resumed = run(tmp_path / "parts", training__save_every_steps=2)
    (message,) = caplog.messages
    assert str(last) in message
    assert "step-6.pt" in message
    assert events(tmp_path / "parts", "start")[-1]["step"] == 6
    assert_same(whole.last, resumed.last)
    assert record(tmp_path / "parts") == record(tmp_path / "whole")


def test_going_back_to_an_earlier_checkpoint_by_its_path(tmp_path, tiny):
    whole = run(tmp_path / "whole")
    tiny.hooks["train"] = ask_to_stop((1, 4))
    run(tmp_path / "parts")
    checkpoints = tmp_path / "parts" / "checkpoints"
    assert (checkpoints / "step-5.pt").exists()
    tiny.hooks["train"] = fail((1, 1))
    with pytest.raises(ConnectionError):
        run(tmp_path / "parts", training__resume=str(checkpoints / "step-5.pt"))
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts")
    assert [line["step"] for line in events(tmp_path / "parts", "start")] == [0, 5, 5]
    assert_same(whole.last, resumed.last)
    assert record(tmp_path / "parts") == record(tmp_path / "whole")


def test_a_full_disk_ends_the_run_in_a_line_and_it_goes_on_when_there_is_room(
    tmp_path, tiny, full_disk
):
    whole = run(tmp_path / "whole")
    limit = full_disk(after=4000)  # the log fits, a checkpoint does not
    tiny.hooks["train"] = lambda *at: at == (1, 1) and limit.__enter__()
    with pytest.raises(UserError, match=r"last\.pt.*make room and resume") as error:
        run(tmp_path / "parts", training__save_every_steps=1)
    limit.__exit__(None, None, None)
    assert "\n" not in str(error.value)
    assert torch.load(tmp_path / "parts" / "checkpoints" / "last.pt")["step"] in (5, 6)
    tiny.hooks.clear()
    assert_same(whole.last, run(tmp_path / "parts").last)


def test_a_checkpoint_that_could_not_be_written_ends_the_run_in_the_next_steps(
    tmp_path, tiny, monkeypatch
):
    """Not only when the next one is due, hours of training later."""
    failed = threading.Event()

    def fail_to_write(*_: object) -> None:
        failed.set()
        raise UserError("last.pt: cannot be written")

    def until_it_is_known(epoch: int, step: int) -> None:
        if step >= 4:
            failed.wait(30)
            time.sleep(0.05)

    monkeypatch.setattr(saving, "write_checkpoint", fail_to_write)
    tiny.hooks["train"] = until_it_is_known
    with pytest.raises(UserError, match="cannot be written"):
        run(tmp_path, data__train_list="320", training__save_every_steps=4)
    assert len(tiny.loaders[0].served) in (5, 6, 7)


def test_the_checkpoint_s_memory_is_free_once_the_run_goes_on(tmp_path, tiny, monkeypatch):
    run(tmp_path, training__epochs=1)
    seen: list[weakref.ref] = []
    read = build.find_start

    def find_start(*arguments):
        start = read(*arguments)
        seen.extend(weakref.ref(value) for value in start.checkpoint["model"].values())
        return start

    monkeypatch.setattr(trainer, "find_start", find_start)
    alive = []
    gc.collect()
    tiny.hooks["train"] = lambda *_: alive.append(sum(r() is not None for r in seen))
    run(tmp_path, training__epochs=2)
    assert seen
    assert set(alive) == {0}


def test_a_validation_whose_checkpoint_was_not_written_is_in_the_log_once(
    tmp_path, tiny, monkeypatch
):
    whole = run(tmp_path / "whole")
    take = trainer.Trainer._take_validation

    def crash(self, summary):
        take(self, summary)
        raise ConnectionError

    monkeypatch.setattr(trainer.Trainer, "_take_validation", crash)
    with pytest.raises(ConnectionError):
        run(tmp_path / "parts")
    assert len(events(tmp_path / "parts", "validation")) == 1
    monkeypatch.setattr(trainer.Trainer, "_take_validation", take)
    assert_same(whole.last, run(tmp_path / "parts").last)
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
