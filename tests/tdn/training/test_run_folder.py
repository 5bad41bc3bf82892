from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tdn.errors import UserError
from tdn.training.run_folder import RunFolder, make_folder, read_checkpoint

STATE = {key: {} for key in ("model", "optimizer", "scaler", "config")}
STATE |= dict.fromkeys(("epoch", "step_in_epoch", "step", "top1", "top5", "best_top1"), 1)
STATE |= dict.fromkeys(("steps_per_epoch", "global_batch", "videos"), 1)


def test_killed_between_write_and_rename_the_old_file_stays(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.save(folder.last, STATE)
    script = (
        "import os, pathlib, signal, sys\n"
        "from tdn.training.run_folder import RunFolder\n"
        "kill = lambda *_: signal.raise_signal(signal.SIGKILL)\n"
        "pathlib.Path.replace = kill\n"
        "folder = RunFolder(sys.argv[1])\n"
        "folder.save(folder.last, {'epoch': 2})\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read_checkpoint(folder.last)["epoch"] == 1
    folder.save(folder.last, STATE | {"epoch": 3})
    assert read_checkpoint(folder.last)["epoch"] == 3
    assert [path.name for path in folder.last.parent.iterdir()] == ["last.pt"]


def test_a_full_disk_is_a_line_and_leaves_the_old_file(tmp_path, full_disk):
    folder = RunFolder(tmp_path)
    folder.save(folder.last, STATE)
    with full_disk(after=10_000), pytest.raises(UserError, match=r"last\.pt"):
        folder.save(folder.last, STATE | {"model": {"weight": torch.zeros(100_000)}})
    assert read_checkpoint(folder.last)["epoch"] == 1
    assert [path.name for path in folder.last.parent.iterdir()] == ["last.pt"]


def test_what_resume_means(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.find_checkpoint("auto") is None
    folder.save(folder.last, STATE)
    assert folder.find_checkpoint("auto") == folder.last
    assert folder.find_checkpoint("none") is None
    assert folder.find_checkpoint("other.pt") == Path("other.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        None,
        {"state_dict": {}},
        {"model": {}, "optimizer": {}, "epoch": 3},
        [1, 2],
    ],
)
def test_unusable_checkpoints_are_refused_in_a_line(tmp_path, content):
    path = tmp_path / "last.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.pt") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_cut_off_checkpoint_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(STATE | {"model": {"weight": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"last\.pt"):
        read_checkpoint(path)


def test_checkpoints_are_read_as_data_not_as_code(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(STATE | {"model": Path("object")}, path)
    with pytest.raises(UserError, match=r"last\.pt"):
        read_checkpoint(path)


def test_a_new_run_clears_the_former_one_away(tmp_path):
    folder = RunFolder(tmp_path)
    events = folder.tensorboard / "events.out.tfevents.1"
    events.parent.mkdir()
    old = [folder.last, folder.best, folder.log, folder.interrupted, events]
    mine = tmp_path / "notes.txt"
    for path in (*old, mine):
        path.write_text("old")
    folder.begin("seed: 1\n", folder.best)
    assert [path.exists() for path in old] == [True, True, True, False, True]
    folder.begin("seed: 2\n", tmp_path / "elsewhere" / "last.pt")
    assert not any(path.exists() for path in old)
    assert mine.exists()
    assert folder.config.read_text() == "seed: 2\n"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output"):
        make_folder(tmp_path / "file" / "run")
