from __future__ import annotations

import json

import numpy as np
from PIL import Image

from tdn import cli
from tdn.demo import run

CONFIG = """
model: {name: tdn_resnet10, num_segments: 2, num_classes: 12, width: 8}
data: {batch_size: 4, crop_size: [40, 48], short_side: 40, num_threads: 1}
optimizer: {name: adamw, lr: 1e-3}
schedule: {name: one_cycle}
training: {epochs: 1, cpu_threads: 1}
"""


def test_the_demo_runs_end_to_end_and_starts_afresh(tmp_path, monkeypatch, capfd):
    """Real clips, torchrun, one network by one process, one by two, over an earlier run."""
    processes = iter((1, 2))
    monkeypatch.setattr(run, "_processes", lambda: next(processes))
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    output = tmp_path / "with a space"
    earlier = output / "tdn" / "checkpoints" / "last.pt"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of another seed")
    words = ["demo", "--config", str(config), "--output", str(output), "--seed", "3"]
    assert cli.main([*words, "--clips", "12", "--validation-clips", "14"]) == 0

    summary = json.loads((output / "summary.json").read_text())
    assert summary["seed"] == 3
    assert summary["chance"] == round(100 / 12, 2)
    assert summary["seconds"]["total"] > 0
    for count, network in enumerate(("tdn", "tsn"), start=1):
        start = json.loads((output / network / "log.jsonl").read_text().splitlines()[0])
        assert (start["world_size"], start["global_batch"]) == (count, 4)
        with np.load(output / network / "scores.npz") as scores:
            logits = scores["scores"].mean(axis=1)
            labels = scores["labels"]
            assert scores["indices"].tolist() == list(range(14))
        assert labels.tolist() == [index % 12 for index in range(14)]
        top1 = 100 * np.mean(logits.argmax(1) == labels)
        assert abs(summary[network]["top1"] - top1) < 0.01
        pairs = zip(logits, labels, strict=True)
        within = 100 * np.mean([row[label] > row[label ^ 1] for row, label in pairs])
        assert abs(summary[network]["within_pair"] - within) < 0.01
        assert "seed: 3" in (output / network / "config.yaml").read_text()
    assert Image.open(output / "predictions.png").size[1] > 6 * 80
    assert str(output / "summary.json") in capfd.readouterr().out
