from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tdn import cli
from tests.videos import write_list, write_video


@pytest.fixture
def words(tmp_path):
    rows = [(write_video(tmp_path / str(i), 12, codec="mjpeg").name, i) for i in range(4)]
    listed = write_list(tmp_path / "list.txt", rows)
    (tmp_path / "recipe.yaml").write_text("model: {num_classes: 4, num_segments: 2}\n")
    keys = {"train_list": listed, "validation_list": listed, "batch_size": 2, "crop_size": 48}
    overrides = [word for key, value in keys.items() for word in (f"--data.{key}", str(value))]
    overrides += ["--training.device", "cpu", "--logging.progress", "false"]
    return ["visualize", "batch", "--config", str(tmp_path / "recipe.yaml"), *overrides]


def test_batch_writes_a_picture_and_prints_its_path(words, tmp_path, capsys):
    pictures = []
    for step in ("0", "1"):
        path = tmp_path / "new" / f"{step}.png"
        assert cli.main([*words, "--step", step, "--output", str(path)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(path)
        pictures.append(np.asarray(Image.open(path)))
    assert pictures[0].shape[1] > 2 * 5 * 48
    assert not np.array_equal(*pictures)


def test_batch_is_written_where_one_stands_by_default(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert cli.main([*words, "--split", "validation", "--clips", "1", "--side", "16"]) == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "batch.png"}
    assert Image.open("batch.png").size[1] < 100


def test_a_step_that_is_not_there_leaves_nothing(words, tmp_path, capsys):
    assert cli.main([*words, "--step", "2", "--output", str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.glob("*.png*"))
