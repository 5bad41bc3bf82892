"""From a folder of real videos to everything that ``tdn train --data.root`` makes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
import torch

from tdn import cli
from tdn.config import Config
from tdn.config_loading import load_config
from tdn.own_videos import run as stages
from tdn.own_videos.prepare import Prepared
from tdn.training.step import TrainingStep
from tests.tdn.own_videos.people import CLASSES, ten_videos

SMALL = (
    *("--model.name", "tdn_resnet10", "--model.width", "8", "--model.num_segments", "3"),
    *("--data.crop_size", "40", "--data.short_side", "40", "--data.num_threads", "1"),
    *("--training.device", "cpu", "--training.cpu_threads", "1", "--logging.tensorboard", "false"),
)


def tdn(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own videos")
    ten_videos(folder / "doors")
    (folder / "doors" / CLASSES[0] / "broken.mp4").write_text("no video")
    return folder


def test_from_a_folder_to_everything_and_nothing_twice(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    command = ["train", "--data.root", "doors", *SMALL, "--training.epochs", "2"]
    run = folder / "runs" / "doors"

    # Asked to stop in the first epoch: nothing that follows is done.
    with monkeypatch.context() as patch:
        whole_step = TrainingStep.__call__

        def step(self, batch, number):
            signal.raise_signal(signal.SIGTERM)
            return whole_step(self, batch, number)

        patch.setattr(TrainingStep, "__call__", step)
        assert tdn(*command) == os.EX_TEMPFAIL
    first = capfd.readouterr().out
    assert "broken.mp4" in first
    assert "10 videos, 2 classes of 5: 8 to train on, 2 to validate" in first
    assert "--model.pretrained" in first
    lists = {name: (run / f"{name}.csv").read_text() for name in ("train", "validation")}
    assert not (run / "metrics.json").exists()

    # The same command goes on there.
    assert tdn(*command) == 0
    told = capfd.readouterr().out
    assert "resumed from" in told
    assert "goes on with the lists" in told
    assert {name: (run / f"{name}.csv").read_text() for name in lists} == lists
    assert (run / "classes.txt").read_text().splitlines() == list(CLASSES)
    assert len(lists["train"].splitlines()) == 9
    assert {line.split(",")[1] for line in lists["validation"].splitlines()[1:]} == set(CLASSES)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["videos"] == 2
    predictions = json.loads((run / "predictions.json").read_text())
    assert sorted(video["class"] for video in predictions) == list(CLASSES)
    assert {guess["name"] for video in predictions for guess in video["predictions"]} == set(
        CLASSES
    )
    right = sum(video["predictions"][0]["name"] == video["class"] for video in predictions)
    assert metrics["top1"] == 50 * right
    assert "<html" in (run / "report.html").read_text()
    program = torch.export.load(run / "network.pt2").module()
    assert program(torch.zeros((1, 3, 5, 40, 40, 3), dtype=torch.uint8)).shape == (1, 2)
    config = load_config(run / "config.yaml")
    assert config.training.epochs == 2
    assert Path(config.data.train_list) == run / "train.csv"

    # Ctrl-C in what follows the training: the same command goes on.
    def interrupted(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_report", interrupted)
        page = (run / "report.html").read_bytes()
        (run / "report.html").unlink()
        assert tdn(*command) == os.EX_TEMPFAIL
    assert "the same command goes on" in capfd.readouterr().out
    (run / "report.html").write_bytes(page)

    # Once more: nothing is done again; the commands that it ends with are right.
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert tdn(*command) == 0
    last = capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert f"{metrics['top1']:.1f} %" in last
    predict, _, longer = last.strip().splitlines()[-3:]
    words = shlex.split(predict.replace("NEW_VIDEO", shlex.quote(f"doors/{CLASSES[1]}/1.mp4")))
    assert tdn(*words[1:]) == 0
    assert CLASSES[0] in capfd.readouterr().out
    options = cli.read_options(shlex.split(longer)[1:])
    assert options.minutes > 0
    assert "--training.epochs" not in options.overrides  # which would leave no say to the minutes

    # What has changed in the folder is told; what is asked for otherwise, is done.
    (folder / "doors" / CLASSES[0] / "broken.mp4").unlink()
    made: list[Path] = []
    monkeypatch.setattr(stages, "export", lambda _trained, path: made.append(path))
    monkeypatch.setattr(stages, "write_report", lambda _run, path, **_: made.append(path) or [])
    assert tdn(*command, "--training.epochs", "3") == 0
    told = capfd.readouterr().out
    assert "1 file is gone since" in told
    assert {name: (run / f"{name}.csv").read_text() for name in lists} == lists
    assert torch.load(run / "checkpoints" / "last.pt", weights_only=True)["epoch"] == 3
    for name in ("metrics.json", "predictions.json"):
        assert (run / name).stat().st_mtime_ns > before[run / name]
    assert [path.name for path in made] == ["network.pt2", "report.html"]


MISTAKES = [
    (["--data.root", "nowhere"], "nowhere"),
    (["--data.root", "doors/closing a door"], "no class folders"),
    (["--data.roots", "doors"], "data.root"),
    (["--data.root", "doors", "--minuts", "3"], "--minutes"),
    (["--data.root", "doors", "--confg", "a.yaml"], "--config"),
    (["--output", "x"], "--data.root"),
    (["--data.root", "doors", "--minutes", "0"], "--minutes"),
    (["--data.root", "doors", "--profile", "1..2"], "--profile"),
    (["--data.root", "doors", "--data.train_list", "a.csv"], "data.validation_list"),
    (["--data.root", "doors", "--model.pretrained", "/nowhere.pth"], "/nowhere.pth"),
    (["--data.root", "doors", "--model.name", "tdn_resnet51"], "tdn_resnet50"),
    (["--data.root", "doors", "--training.mixup", "1", "--data.batch_size", "1"], "mixup"),
    (["--data.root", "doors", "--data.batch_size", "9"], "data.batch_size"),
]


@pytest.mark.parametrize(("words", "names"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(folder, monkeypatch, capsys, words, names):
    monkeypatch.chdir(folder)
    assert tdn("train", *words, *(["--output", "mistake"] if "--output" not in words else [])) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert names in captured.err
    assert not (folder / "mistake").exists()


def test_another_test_protocol_tests_again(tmp_path, monkeypatch):
    done: list[str] = []

    def make(name: str) -> None:
        done.append(name)
        (tmp_path / name).touch()

    monkeypatch.setattr(stages, "evaluate", lambda *_: make("metrics.json"))
    for name, file in (("_predict", "predictions.json"), ("_export", "network.pt2")):
        monkeypatch.setattr(stages._Run, name, lambda _run, file=file: make(file))
    monkeypatch.setattr(stages._Run, "_report", lambda _run: make("report.html"))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.pt").touch()
    (tmp_path / "own-videos.json").write_text("{}")
    config = Config(output=str(tmp_path))

    def finish() -> list[str]:
        done.clear()
        for file in tmp_path.iterdir():  # all long ago: a clock has its ticks
            os.utime(file, (1, 1))
        os.utime(tmp_path / "checkpoints" / "last.pt", (1, 1))
        stages._Run(Prepared(config, 1, 1.0)).finish()
        return done

    assert finish() == ["metrics.json", "predictions.json", "network.pt2", "report.html"]
    assert finish() == []
    config.evaluation.clips = 10
    assert finish() == ["metrics.json", "report.html"]
    assert finish() == []


@pytest.mark.parametrize("mistake", MISTAKES[:5])
def test_a_mistake_in_the_command_is_told_before_torch_is_imported(folder, monkeypatch, mistake):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "tdn.own_videos.run", None)  # to import it is an error
    assert tdn("train", *mistake[0]) == 2


def test_processes_of_torchrun_are_told_that_it_starts_them_itself(folder, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    assert tdn("train", "--data.root", folder / "doors") == 2
    assert "torchrun" in capsys.readouterr().err


def test_minutes_are_for_a_run_without_configuration(capsys):
    assert tdn("train", "--config", "any.yaml", "--minutes", "3") == 2
    assert "--minutes" in capsys.readouterr().err
