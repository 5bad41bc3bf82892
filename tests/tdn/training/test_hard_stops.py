"""Mistakes that are found before a video is opened, and leave nothing."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from tdn.config import Config
from tdn.errors import UserError
from tdn.pipelines.indexing import manifest_cache
from tdn.training.saving import disk_room
from tdn.training.saving.disk_room import check_room, checkpoint_size
from tdn.training.saving.run_folder import RunFolder
from tdn.training.trainer import train
from tests.tdn.synthetic import TinyNetwork, tiny_config
from tests.tdn.training.runs import run
from tests.videos import write_list


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """Two lists of videos that are nowhere, and nobody may look for."""
    monkeypatch.setattr(manifest_cache, "index_list", lambda *_, **__: pytest.fail("indexes"))
    rows = [(f"clip {row}.mp4", row % 3) for row in range(20)]
    config = tiny_config(str(tmp_path / "runs" / "one"), model__num_classes=3)
    config.model.name, config.model.width = "tdn_resnet10", 8
    config.data.train_list = str(write_list(tmp_path / "train.txt", rows))
    config.data.validation_list = str(write_list(tmp_path / "validation.txt", rows))
    return config


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as error:
        train(config)
    message = str(error.value)
    assert "\n" not in message
    assert not Path(config.output).parent.exists()
    return message


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("model", "name", "tdn_resnet51", "tdn_resnet50"),
        ("model", "num_classes", 2, "train.txt:3: label 2"),
        ("model", "pretrained", "missing.pt", "missing.pt"),
        ("data", "train_list", "", "data.train_list"),
        ("data", "train_list", "nowhere.txt", "nowhere.txt"),
        ("data", "validation_list", "", "data.validation_list"),
        ("data", "validation_list", "nowhere.txt", "nowhere.txt"),
        ("data", "validation_list", "{empty}", "empty.txt"),
        ("data", "validation_list", "{other}", "other.txt:2: label 3"),
        ("data", "classes", "{names}", "train.txt"),
        ("optimizer", "backend", "apex", "optimizer.backend"),
        ("optimizer", "multipliers", {"stage9": {"lr": 2.0}}, "stage9"),
        ("training", "resume", "missing.pt", "missing.pt"),
        ("training", "epochs", 0, "training.epochs"),
        ("schedule", "warmup_epochs", 99.0, "schedule.warmup_epochs"),
    ],
)
def test_a_mistake_is_told_before_the_lists_are_indexed(
    tmp_path, config, section, key, value, told
):
    (tmp_path / "empty.txt").write_text("\n")
    write_list(tmp_path / "other.txt", [("a.mp4", 0), ("b.mp4", 3)])
    (tmp_path / "names.txt").write_text("walk\nrun\n")
    if isinstance(value, str) and value.startswith("{"):
        value = str(tmp_path / f"{value[1:-1]}.txt")
    setattr(getattr(config, section), key, value)
    assert told in refusal(config)


def test_an_output_that_cannot_be_written_is_told(tmp_path, config):
    (tmp_path / "file").write_text("")
    config.output = str(tmp_path / "file" / "run")
    with pytest.raises(UserError, match="output"):
        train(config)


def test_a_disk_too_small_for_the_checkpoints_is_told(config, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk_room.shutil, "disk_usage", lambda _: usage(9e9, 9e9, 1e5))
    assert "output" in (message := refusal(config))
    assert "4 checkpoints" in message
    assert "training.keep" in message


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_size_of_a_checkpoint_is_known_beforehand(tmp_path, tiny, name, ema):
    settings = {"optimizer__name": name, "training__ema": ema, "model__width": 4096}
    result = run(tmp_path, **settings, training__epochs=1)
    config, model = tiny_config("unused", **settings), TinyNetwork("tiny_bn", 6, 0.0, 4096)
    found = result.last.stat().st_size
    assert found == pytest.approx(checkpoint_size(config, model), rel=0.05)


def test_room_that_former_checkpoints_take_is_room(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    config, model = tiny_config("unused"), TinyNetwork("tiny_bn", 6, 0.0, 16)
    monkeypatch.setattr(disk_room.shutil, "disk_usage", lambda _: usage(0, 0, 0))
    folder = RunFolder(tmp_path)
    with pytest.raises(UserError, match=str(tmp_path)):
        check_room(folder, config, model)
    folder.checkpoints.mkdir()
    content = bytes(4 * checkpoint_size(config, model))
    folder.damaged.write_bytes(content)  # stays where it is
    with pytest.raises(UserError, match=str(tmp_path)):
        check_room(folder, config, model)
    folder.last.write_bytes(content)
    check_room(folder, config, model)
