from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from tdn.errors import UserError
from tdn.training.saving.checkpoint_file import read_checkpoint, write_checkpoint
from tdn.training.saving.run_folder import RunFolder, make_folder
from tests.tdn.training.saving.test_checkpoint_file import STATE


def put(path: Path, step: int) -> None:
    write_checkpoint(path, STATE | {"step": step})


def damage(path: Path) -> None:
    """Overwrite what is longer than the space between two tensors, which nobody reads."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(byte ^ 1 for byte in content[middle : middle + 200])
    path.write_bytes(content)


def steps(folder: RunFolder) -> dict[str, int]:
    return {path.name: torch.load(path)["step"] for path in folder.checkpoints.glob("*.pt")}


def test_what_resume_means(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert folder.find_checkpoint("auto") is None
    put(folder.last, 5)
    put(tmp_path / "other.pt", 7)
    assert folder.find_checkpoint("auto").path == folder.last
    assert folder.find_checkpoint("auto").checkpoint["step"] == 5
    assert folder.find_checkpoint("none") is None
    assert folder.find_checkpoint(str(tmp_path / "other.pt")).checkpoint["step"] == 7


def test_earlier_checkpoints_are_found_the_newest_first(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (9, 10, 100):
        put(folder.earlier_path(step), step)
    (folder.checkpoints / "step-mine.pt").touch()
    assert [path.name for path in folder.earlier()] == ["step-100.pt", "step-10.pt", "step-9.pt"]


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (["last.pt"], "step-9.pt"),
        (["last.pt", "step-9.pt"], "step-4.pt"),
        (["last.pt", "step-9.pt", "step-4.pt"], "best.pt"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path, caplog, damaged, expected
):
    folder = RunFolder(tmp_path)
    for name, step in (("last.pt", 12), ("step-9.pt", 9), ("step-4.pt", 4), ("best.pt", 2)):
        put(folder.checkpoints / name, step)
    for name in damaged:
        damage(folder.checkpoints / name)
    with caplog.at_level(logging.WARNING):
        found = folder.find_checkpoint("auto")
    assert found.path.name == expected
    assert len(caplog.messages) == len(damaged)
    for name, message in zip(damaged, caplog.messages, strict=True):
        assert name in message
        assert expected in message
        assert "\n" not in message


def test_when_all_are_damaged_the_run_does_not_start_over_by_itself(tmp_path):
    folder = RunFolder(tmp_path)
    for path in (folder.last, folder.best):
        put(path, 3)
        damage(path)
    with pytest.raises(UserError, match=r"last\.pt.*training\.resume none"):
        folder.find_checkpoint("auto")


def test_a_damaged_checkpoint_that_is_asked_for_is_refused(tmp_path):
    folder = RunFolder(tmp_path)
    put(folder.last, 3)
    put(folder.best, 3)
    damage(folder.last)
    with pytest.raises(UserError, match=r"last\.pt"):
        folder.find_checkpoint(str(folder.last))


def test_a_new_run_clears_the_former_one_away(tmp_path):
    folder = RunFolder(tmp_path)
    events = folder.tensorboard / "events.out.tfevents.1"
    events.parent.mkdir()
    old = [folder.last, folder.best, folder.log, folder.interrupted, events]
    mine = tmp_path / "notes.txt"
    put(folder.earlier_path(3), 3)
    for path in (*old, mine):
        path.write_text("old")
    folder.begin("seed: 1\n", folder.last, 5)
    assert [path.exists() for path in old] == [True, True, True, False, True]
    assert folder.earlier()
    folder.begin("seed: 2\n", tmp_path / "elsewhere" / "last.pt", 5)
    assert not any(path.exists() for path in old)
    assert not folder.earlier()
    assert mine.exists()
    assert folder.config.read_text() == "seed: 2\n"


@pytest.mark.parametrize("origin", ["step-6.pt", "best.pt"])
def test_going_back_drops_what_came_later(tmp_path, origin):
    folder = RunFolder(tmp_path)
    for name, step in (("last.pt", 12), ("step-9.pt", 9), ("step-6.pt", 6), ("step-3.pt", 3)):
        put(folder.checkpoints / name, step)
    put(folder.best, 6)
    folder.begin("", folder.checkpoints / origin, 6)
    assert steps(folder) == {"last.pt": 6, "step-3.pt": 3, "best.pt": 6}
    assert folder.find_checkpoint("auto").checkpoint["step"] == 6


def test_a_damaged_last_checkpoint_is_set_aside(tmp_path):
    folder = RunFolder(tmp_path)
    put(folder.last, 9)
    put(folder.earlier_path(6), 6)
    damage(folder.last)
    content = folder.last.read_bytes()
    folder.begin("", folder.find_checkpoint("auto").path, 6)
    assert folder.damaged.read_bytes() == content
    assert read_checkpoint(folder.last)["step"] == 6


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output"):
        make_folder(tmp_path / "file" / "run")
