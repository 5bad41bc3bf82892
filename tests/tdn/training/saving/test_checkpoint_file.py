from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.training.saving.checkpoint_file import DamagedError, read_checkpoint, write_checkpoint

STATE = {key: {} for key in ("model", "optimizer", "scaler", "config")}
STATE |= dict.fromkeys(("epoch", "step_in_epoch", "step", "top1", "top5", "best_top1"), 1)
STATE |= dict.fromkeys(("steps_per_epoch", "global_batch", "videos", "unread"), 1)
STATE |= {"model": {"weight": torch.linspace(0, 1, 3000), "count": torch.tensor(7)}}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("written") / "last.pt"
    write_checkpoint(path, STATE)
    return path.read_bytes()


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "last.pt", STATE)
    found = read_checkpoint(tmp_path / "last.pt")
    assert torch.equal(found.pop("model")["weight"], STATE["model"]["weight"])
    assert found == {key: value for key, value in STATE.items() if key != "model"}


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_damaged_is_noticed_or_does_no_harm(tmp_path_factory, written, data):
    path = tmp_path_factory.mktemp("damaged") / "last.pt"
    content = bytearray(written)
    # Uniformly, or among the tables at the start and the end.
    ends = [(0, len(content) - 1), (0, 700), (len(content) - 1500, len(content) - 1)]
    first = data.draw(st.one_of(*(st.integers(*bounds) for bounds in ends)))
    for position in range(first, min(first + data.draw(st.integers(1, 40)), len(content))):
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    problem = None
    try:
        found = read_checkpoint(path)
    except DamagedError as error:
        problem = str(error)
    if problem is not None:
        assert str(path) in problem
        assert "\n" not in problem
    else:
        assert torch.equal(found["model"]["weight"], STATE["model"]["weight"])
        assert found["model"]["count"] == 7
        assert found["step"] == 1


def test_a_flipped_bit_of_a_weight_is_noticed(tmp_path, written):
    path = tmp_path / "last.pt"
    weight = STATE["model"]["weight"].numpy().tobytes()
    place = written.index(weight) + 5000
    path.write_bytes(written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :])
    assert torch.load(path, weights_only=True)["epoch"] == 1  # torch does not mind
    with pytest.raises(DamagedError, match="checksum"):
        read_checkpoint(path)


@pytest.mark.parametrize("length", [0, 1, 500, -1, -200, -6000])
def test_a_cut_off_checkpoint_is_damaged(tmp_path, written, length):
    path = tmp_path / "last.pt"
    path.write_bytes(written[:length])
    with pytest.raises(DamagedError, match=r"last\.pt"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"model": {}, "epoch": 3}, [1, 2]])
def test_other_files_of_torch_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match="no training state") as error:
        read_checkpoint(tmp_path / "last.pt")
    assert "\n" not in str(error.value)


def test_checkpoints_are_read_as_data_not_as_code(tmp_path):
    torch.save(STATE | {"model": Path("object")}, tmp_path / "last.pt")
    with pytest.raises(UserError, match=r"last\.pt"):
        read_checkpoint(tmp_path / "last.pt")


def test_a_missing_file_is_no_damaged_one(tmp_path):
    with pytest.raises(UserError, match="no such file") as error:
        read_checkpoint(tmp_path / "last.pt")
    assert not isinstance(error.value, DamagedError)


def test_a_file_that_may_not_be_read_is_no_damaged_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "last.pt", STATE)

    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(UserError, match="permissions") as error:
        read_checkpoint(tmp_path / "last.pt")
    assert not isinstance(error.value, DamagedError)
