from __future__ import annotations

import numpy as np
import pytest

from tdn import cli
from tdn.evaluation.scores import Scores


@pytest.fixture
def runs(tmp_path):
    for name, best in (("8f", [0, 1, 1]), ("16f", [0, 1, 2])):
        logits = np.eye(3, dtype=np.float32)[best][:, None]
        Scores(np.arange(3), np.arange(3), logits).save(tmp_path / name / "scores.npz")
    return tmp_path


def test_it_prints_each_and_both_rules(runs, capsys):
    words = ["ensemble", f"{runs}/8f", f"{runs}/16f", "--output", f"{runs}/8+16f"]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("top-1")[1].split()[0] for line in lines[:4]] == [
        "66.67",
        "100.00",
        "66.67",
        "66.67",
    ]
    assert "published" in lines[2]
    assert "softmax" in lines[3]
    assert {path.name for path in (runs / "8+16f").iterdir()} == {"scores.npz", "metrics.json"}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["SCORES"]),
        (["8f"], ["8f/scores.npz", "two"]),
        (["8f", "nowhere"], ["nowhere"]),
        (["8f", "16f", "--rule", "mean"], ["--rule", "published"]),
        (["8f", "16f", "--output", "8f/scores.npz"], ["8f/scores.npz"]),
    ],
)
def test_mistakes_are_one_line(runs, monkeypatch, capsys, words, names):
    monkeypatch.chdir(runs)
    assert cli.main(["ensemble", *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    for name in names:
        assert name in captured.err
