from __future__ import annotations

import json

import pytest

from tdn import cli
from tdn.config_loading import dump_config
from tdn.training.trainer import train
from tests.tdn.synthetic import tiny_config


@pytest.fixture
def config(tmp_path, tiny):
    """The configuration file of a finished run."""
    config = tiny_config(str(tmp_path / "run"), training__epochs=1, training__ema=0.9)
    train(config)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    return path


def test_writes_scores_and_metrics_and_says_where(config, tmp_path, capsys):
    checkpoint = tmp_path / "run" / "checkpoints" / "best.pt"
    words = ["--config", str(config), "--checkpoint", str(checkpoint)]
    assert cli.main(["evaluate", *words, "--output", str(tmp_path / "test")]) == 0
    assert {path.name for path in (tmp_path / "test").iterdir()} == {
        *("scores.npz", "metrics.json", "classes.csv", "confusion.csv", "confusion.png")
    }
    assert str(tmp_path / "test" / "scores.npz") in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--raw"]])
def test_averaged_weights_are_tested_unless_raw_ones_are_wanted(config, tmp_path, words):
    words += ["--config", str(config), "--output", str(tmp_path / "test")]
    words += ["--checkpoint", str(tmp_path / "run" / "checkpoints" / "last.pt")]
    assert cli.main(["evaluate", *words]) == 0
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["averaged_weights"] is ("--raw" not in words)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "--checkpoint"),
        (["--checkpoint", "/nowhere.pt"], "/nowhere.pt"),
        (["--checkpoint", "x.pt", "--optimizer.rate", "1"], "optimizer.rate"),
    ],
)
def test_mistakes_are_one_line(config, capsys, words, names):
    capsys.readouterr()
    assert cli.main(["evaluate", "--config", str(config), *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert names in captured.err
    assert captured.out == ""
