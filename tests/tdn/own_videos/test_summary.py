from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from tdn.own_videos.summary import summary


@pytest.mark.parametrize(("right", "sure"), [(19, True), (12, False)])
def test_it_tells_accuracy_from_guessing_and_how_to_go_on(tmp_path, right, sure):
    root = tmp_path / "a run"
    root.mkdir()
    labels = np.array([0] * 8 + [1] * 12)
    metrics = {"top1": 100 * right / 20, "class_names": ["walk", "run"]}
    (root / "metrics.json").write_text(json.dumps(metrics))
    np.savez(root / "scores.npz", indices=np.arange(20), labels=labels, scores=np.zeros((20, 1, 2)))
    command = ["tdn", "train", "--data.root", "my videos"]
    lines = summary(root, [(root / "report.html", "a page")], command, 2.0).splitlines()
    told = lines[1]
    assert f"{metrics['top1']:.1f} %" in told
    assert "'run' would give 60.0 %" in told
    assert ("not surely" in told) is not sure
    assert shlex.split(lines[-3])[-1] == str(root / "checkpoints" / "last.pt")
    assert shlex.split(lines[-1]) == [*command, "--minutes", "6"]
