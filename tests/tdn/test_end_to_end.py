"""From a list of foreign videos to scores, through the command line and real torchrun processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tdn.cli import main
from tests.videos import write_list, write_video

CLIPS = (
    ("vp9", (75, 101), True, 33),
    ("h264", (98, 130), True, 50),
    ("vp9", (120, 160), False, 12),
    ("h264", (180, 90), False, 25),
    ("mjpeg", (96, 128), False, 9),
    ("vp9", (64, 200), True, 5),
    ("h264", (96, 128), True, 1),
)

CONFIG = """
seed: 4
model: {name: tdn_resnet10, num_segments: 3, num_classes: 3, width: 8}
data:
  train_list: LIST
  validation_list: LIST
  batch_size: 2
  crop_size: [40, 48]
  short_side: 40
  num_threads: 1
optimizer: {lr: 0.01}
schedule: {name: constant}
training: {epochs: 2, cpu_threads: 1, device: cpu}
logging: {tensorboard: false}
"""

IN_TURN = """
import json, sys
from tdn.cli import main
sys.exit(any(main(words) for words in json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Seven usable videos, one cut in half and one text file."""
    folder = tmp_path_factory.mktemp("foreign clips")
    rows = []
    for row, (codec, size, audio, frames) in enumerate(CLIPS):
        path = write_video(
            folder / f"clip {row}", frames, codec=codec, size=size, audio=audio, options={"g": "12"}
        )
        rows.append((path.name, row % 3))
    whole = (folder / "clip 1.mp4").read_bytes()
    (folder / "corrupt.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.webm").write_text("not a video\n" * 20)
    rows[3:3] = [("corrupt.mp4", 1), ("text.webm", 0)]
    listed = write_list(folder / "list.txt", rows)
    (folder / "config.yaml").write_text(CONFIG.replace("LIST", f"'{listed}'"))
    return folder


def together(*commands: Sequence[object]) -> str:
    """Run commands in turn on two processes under torchrun; returns what they printed."""
    words = json.dumps([list(map(str, command)) for command in commands])
    torchrun = ("tests.forks", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, "--no-python", sys.executable, "-c", IN_TURN, words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_foreign_clips_train_and_two_processes_score_them_as_one_does(folder):
    config, run = folder / "config.yaml", folder / "run"
    checkpoint = run / "checkpoints" / "last.pt"
    outputs = [folder / f"evaluated by {processes}" for processes in (1, 2)]
    alone, by_two = (
        ["evaluate", "--config", config, "--checkpoint", checkpoint, "--output", output]
        for output in outputs
    )
    printed = together(["train", "--config", config, "--output", run], by_two)
    assert main(list(map(str, alone))) == 0
    assert "corrupt.mp4" in printed
    assert "text.webm" in printed
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert events[0]["world_size"] == 2
    assert [e["step"] for e in events if e["event"] == "train"] == [1, 2]  # 7 videos, 4 a step

    scores, metrics = [], []
    for output in outputs:
        with np.load(output / "scores.npz") as archive:
            scores.append({name: archive[name] for name in archive.files})
        metrics.append(json.loads((output / "metrics.json").read_text()))
    one, two = scores
    assert one["indices"].tolist() == two["indices"].tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert one["labels"].tolist() == two["labels"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert one["scores"].shape == (7, 1, 3)
    np.testing.assert_array_equal(one["scores"], two["scores"])
    assert metrics[0]["top1"] == metrics[1]["top1"]
    expected = 100 * np.mean(one["scores"].mean(1).argmax(-1) == one["labels"])
    assert abs(metrics[0]["top1"] - expected) < 1e-9
