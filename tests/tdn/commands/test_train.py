"""``tdn train`` and ``tdn evaluate`` as a user gives them: on real videos, and with mistakes."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch

from tdn import cli
from tests.videos import write_list, write_video

CONFIG = """\
model: {name: tdn_resnet10, num_segments: 2, num_classes: 3, width: 8}
data: {batch_size: 2, crop_size: [48, 64], short_side: 48, num_threads: 1}
training: {epochs: 2, device: cpu, log_every: 1}
logging: {progress: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five videos, in a list; a configuration that names it; and a run of it."""
    folder = tmp_path_factory.mktemp("train")
    rows = [(write_video(folder / str(i), 12, codec="mjpeg").name, i % 3) for i in range(5)]
    write_list(folder / "list.txt", rows)
    lists = "".join(f"  {split}_list: {folder}/list.txt\n" for split in ("train", "validation"))
    text = CONFIG.replace("data: {", f"data:\n{lists}  ").replace(", crop", "\n  crop")
    text = text.replace(", short", "\n  short").replace(", num_threads: 1}", "\n  num_threads: 1")
    (folder / "config.yaml").write_text(text)
    assert (
        cli.main(["train", "--config", f"{folder}/config.yaml", "--output", f"{folder}/run"]) == 0
    )
    return folder


def tdn(*words: object) -> int:
    return cli.main([str(word) for word in words])


def test_a_run_on_real_videos_leaves_what_it_should(folder):
    events = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["start", "train", "train", "validation", "train", "train", "validation", "end"]
    assert [event["step"] for event in events if event["event"] == "train"] == [1, 2, 3, 4]
    checkpoint = torch.load(folder / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["step"]) == (2, 4)
    assert checkpoint["config"]["model"]["width"] == 8
    assert all(value.isfinite().all() for value in checkpoint["model"].values())


def test_the_same_command_again_says_complete(folder, capsys):
    assert tdn("train", "--config", folder / "run" / "config.yaml") == 0
    assert "complete" in capsys.readouterr().out


def test_the_checkpoint_is_evaluated_as_it_was_validated(folder, tmp_path):
    checkpoint = folder / "run" / "checkpoints" / "last.pt"
    words = ["--config", folder / "config.yaml", "--checkpoint", checkpoint]
    assert tdn("evaluate", *words, "--output", tmp_path, "--data.batch_size", "3") == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    trained = torch.load(checkpoint, weights_only=True)
    assert (metrics["top1"], metrics["top5"]) == (trained["top1"], 100)
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["indices"].tolist() == list(range(5))
        assert scores["labels"].tolist() == [0, 1, 2, 0, 1]
        assert scores["scores"].shape == (5, 1, 3)


def test_fine_tuning_takes_all_but_the_classifier(folder, tmp_path, capsys):
    words = [
        "train", "--config", folder / "config.yaml", "--output", tmp_path,
        "--model.pretrained", folder / "run" / "checkpoints" / "best.pt",
        "--model.num_classes", "7", "--training.epochs", "1", "--training.validate_every", "5",
    ]  # fmt: skip
    assert tdn(*words) == 2  # only when asked for
    assert "model.new_head" in capsys.readouterr().err
    assert tdn(*words, "--model.new_head", "true") == 0
    assert "classifier.weight" in capsys.readouterr().out


def test_a_stopped_run_has_its_own_status_and_goes_on(folder, tmp_path, monkeypatch):
    from tdn.training.step import TrainingStep

    whole_step = TrainingStep.__call__

    def step(self, batch, number):
        if number == 2:
            signal.raise_signal(signal.SIGTERM)
        return whole_step(self, batch, number)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    words = ["train", "--config", folder / "config.yaml", "--output", tmp_path]
    assert tdn(*words) == os.EX_TEMPFAIL
    assert torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)["step"] == 3
    monkeypatch.undo()
    assert tdn(*words) == 0
    one, other = (
        torch.load(path / "checkpoints" / "last.pt", weights_only=True)["model"]
        for path in (folder / "run", tmp_path)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--data.train_list", "/nowhere.txt"], "/nowhere.txt"),
        (["--data.train_lists", "x"], "data.train_list"),
        (["--model.name", "tdn_resnet51"], "tdn_resnet50"),
        (["--model.num_classes", "2"], "list.txt:3"),
        (["--data.batch_size", "6"], "data.batch_size"),
        (["--schedule.warmup_epochs", "2"], "schedule.warmup_epochs"),
        (["--model.pretrained", "/nowhere.pth"], "/nowhere.pth"),
        (["--training.resume", "/nowhere.pt"], "training.resume"),
        (["--optimizer.backend", "apex"], "optimizer.backend"),
        (["--output", "/dev/null/run"], "output"),
        (["--profile", "3..2"], "--profile"),
        (["--profile", "2..99"], "--profile"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(folder, tmp_path, capsys, words, names):
    output = [] if "--output" in words else ["--output", tmp_path / "run"]
    assert tdn("train", "--config", folder / "config.yaml", *output, *words) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert names in captured.err
    assert "epoch" not in captured.out
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_under_torchrun_one_process_of_a_host_tells_of_the_configuration(
    folder, monkeypatch, capsys, rank, lines
):
    monkeypatch.setenv("LOCAL_RANK", rank)
    words = ["train", "--config", folder / "config.yaml", "--no.such", "key"]
    try:
        status = tdn(*words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert capsys.readouterr().err.count("\n") == lines
