from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from tdn.errors import UserError
from tdn.training.saving import saver as saving
from tdn.training.saving.checkpoint_file import read_checkpoint, write_checkpoint
from tdn.training.saving.run_folder import RunFolder
from tdn.training.saving.saver import Saver, snapshot
from tests.tdn.training.saving.test_checkpoint_file import STATE

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def state(step: int, **more: object) -> dict:
    return STATE | {"step": step} | more


def found(folder: RunFolder) -> dict[str, int]:
    paths = folder.checkpoints.iterdir()
    return {path.name: read_checkpoint(path)["step"] for path in paths}


@pytest.fixture
def gate(monkeypatch) -> threading.Event:
    """Writing begins when this is set."""
    gate = threading.Event()
    monkeypatch.setattr(
        saving, "write_checkpoint", lambda *args: (gate.wait(30), write_checkpoint(*args))
    )
    return gate


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (1, {"last.pt": 9}),
        (2, {"last.pt": 9, "step-7.pt": 7}),
        (3, {"last.pt": 9, "step-7.pt": 7, "step-4.pt": 4}),
    ],
)
def test_the_last_ones_and_the_best_one_are_kept(tmp_path, keep, expected):
    folder = RunFolder(tmp_path)
    with Saver(folder, keep) as saver:
        for step in (2, 4, 7, 9):
            saver.save(state(step), best=step == 4)
    assert found(folder) == expected | {"best.pt": 4}


def test_a_second_checkpoint_of_a_step_takes_the_place_of_the_first(tmp_path):
    folder = RunFolder(tmp_path)
    with Saver(folder, 2) as saver:
        for step, epoch in ((2, 0), (4, 0), (4, 1)):
            saver.save(state(step, epoch=epoch))
    assert found(folder) == {"last.pt": 4, "step-2.pt": 2}
    assert read_checkpoint(folder.last)["epoch"] == 1


def test_a_resumed_run_keeps_what_it_came_from(tmp_path):
    folder = RunFolder(tmp_path)
    write_checkpoint(folder.last, state(2))
    with Saver(folder, 2, step=2) as saver:
        saver.save(state(4))
    assert found(folder) == {"last.pt": 4, "step-2.pt": 2}


def test_without_links_the_last_one_is_renamed(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    folder = RunFolder(tmp_path)
    with Saver(folder, 2) as saver:
        for step in (2, 4):
            saver.save(state(step))
    assert found(folder) == {"last.pt": 4, "step-2.pt": 2}


def test_training_goes_on_while_the_copy_is_written(tmp_path, gate):
    folder = RunFolder(tmp_path)
    weight = torch.zeros(3)
    with Saver(folder, 2) as saver:
        saver.save(state(1, model={"weight": weight}))
        weight += 1
        assert not folder.last.exists()
        gate.set()
    assert read_checkpoint(folder.last)["model"]["weight"].tolist() == [0, 0, 0]


def test_one_is_written_at_a_time(tmp_path, gate):
    folder = RunFolder(tmp_path)
    with Saver(folder, 2) as saver:
        saver.save(state(1))
        opener = threading.Timer(0.3, gate.set)
        opener.start()
        saver.save(state(2))
        assert read_checkpoint(folder.last)["step"] == 1
    assert found(folder) == {"last.pt": 2, "step-1.pt": 1}


def test_the_end_waits_for_what_is_being_written(tmp_path, gate):
    folder = RunFolder(tmp_path)
    threading.Timer(0.3, gate.set).start()
    saver = Saver(folder, 2)
    saver.save(state(1))
    saver.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert found(folder) == {"last.pt": 1}


def test_what_has_to_come_first_comes_first(tmp_path):
    folder = RunFolder(tmp_path)
    seen = []
    with Saver(folder, 2) as saver:
        saver.save(state(1), before=lambda: seen.append(folder.last.exists()))
    assert seen == [False]


def test_a_full_disk_is_a_line_at_the_next_look_and_leaves_what_was_there(tmp_path, full_disk):
    folder = RunFolder(tmp_path)
    large = state(3, model={"weight": torch.zeros(100_000)})
    with Saver(folder, 2) as saver:
        saver.save(state(1))
        saver.save(state(2))
        saver.wait()
        with full_disk(after=50_000):
            saver.save(large)
            saver._writing.exception()
            with pytest.raises(UserError, match=r"last\.pt") as error:
                saver.check()
        assert "\n" not in str(error.value)
        assert found(folder).items() >= {"last.pt": 2}.items()
        saver.check()  # told once
        saver.save(state(4))
    assert found(folder) == {"last.pt": 4, "step-2.pt": 2}


def test_a_failure_in_the_last_moment_is_told_too(tmp_path, full_disk):
    folder = RunFolder(tmp_path)
    saver = Saver(folder, 2)
    saver.save(state(1))
    saver.wait()
    with full_disk(after=10_000):
        saver.save(state(3, model={"weight": torch.zeros(100_000)}))
        saver._writing.exception()
    with pytest.raises(UserError, match=r"last\.pt"):
        saver.__exit__(None, None, None)
    assert found(folder).items() >= {"last.pt": 1}.items()


def test_a_folder_that_may_not_be_changed_is_a_line(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    saver = Saver(folder, 2)
    saver.save(state(1))
    saver.wait()
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    saver.save(state(2))
    with pytest.raises(UserError, match="checkpoints"):
        saver.wait()


def test_killed_at_any_moment_of_the_change_a_good_one_is_there(tmp_path):
    moments = ("hardlink_to", "replace", "unlink")
    folders = {moment: RunFolder(tmp_path / moment) for moment in moments}
    for folder in folders.values():
        write_checkpoint(folder.last, state(2))
        write_checkpoint(folder.earlier_path(1), state(1))
    script = (
        "import os, pathlib, signal, sys\n"
        "from tdn.training.saving.run_folder import RunFolder\n"
        "from tdn.training.saving.saver import Saver\n"
        "from tests.tdn.training.saving.test_checkpoint_file import STATE\n"
        "for folder in map(pathlib.Path, sys.argv[1:]):\n"
        "    if not (child := os.fork()):\n"
        "        kill = lambda *_, **__: signal.raise_signal(signal.SIGKILL)\n"
        "        setattr(pathlib.Path, folder.name, kill)\n"
        "        with Saver(RunFolder(folder), 2, step=2) as saver:\n"
        "            saver.save(STATE | {'step': 3})\n"
        "        os._exit(0)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL\n"
    )
    words = [sys.executable, "-c", script, *(folder.root for folder in folders.values())]
    subprocess.run(words, check=True)
    for folder in folders.values():
        assert folder.find_checkpoint("auto").checkpoint["step"] >= 2


def test_a_snapshot_shares_nothing_and_keeps_layout():
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tree = {"a": [images, {"b": (torch.tensor(3), "text", None)}]}
    copy, event = snapshot(tree)
    assert event is None
    assert torch.equal(copy["a"][0], images)
    assert copy["a"][0].stride() == images.stride()
    images += 1
    assert not torch.equal(copy["a"][0], images)
    assert copy["a"][1]["b"] == (torch.tensor(3), "text", None)


@pytest.mark.parametrize("device", DEVICES)
def test_a_snapshot_is_of_its_moment_and_waits_for_nothing(device):
    weight = torch.zeros(1 << 22, device=device)
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda._sleep(200_000_000)
        torch.cuda.set_sync_debug_mode("error")
    copy, event = snapshot({"weight": weight})
    weight += 1
    if event is not None:
        torch.cuda.set_sync_debug_mode("default")
        assert not event.query()
        event.synchronize()
    assert (event is not None) == (device == "cuda")
    assert copy["weight"].abs().max() == 0
