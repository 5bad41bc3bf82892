"""A small network trained on demo data, once for all tests that use it: a fixture to import."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tdn.cli import main
from tdn.config_loading import load_config
from tdn.evaluation.scores import Scores
from tdn.pipelines.demo_data import write_demo_data
from tdn.pipelines.files.locks import lock
from tdn.training.trainer import train
from tests.videos import numbered_frame, rotate_mp4, write_list, write_video

RECIPE = """\
seed: 3
model: {{name: tdn_resnet10, num_segments: {frames}, num_classes: 12, width: 8}}
data:
  train_list: {root}/train.txt
  validation_list: {root}/test.txt
  classes: {root}/labels.txt
  batch_size: 4
  crop_size: 40
  short_side: 48
  flip: false
  num_threads: 1
optimizer: {{name: adamw, lr: 0.003, clip_norm: 5}}
schedule: {{name: constant}}
training: {{epochs: 30, validate_every: 30, device: cpu, cpu_threads: 1}}
logging: {{tensorboard: false, progress: false}}
"""
VIDEOS = 7


class DemoTraining:
    """The folder of a training: data, recipes, checkpoints, and evaluations as they are wanted.

    ``root`` holds the data, ``demo_2f.yaml`` and ``demo_3f.yaml`` are recipes of 2 and 3 segments,
    ``checkpoints`` has a checkpoint for each, and ``run`` is the run folder of the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.run = folder / "run"
        self.checkpoints = folder / "checkpoints"

    def recipe(self, frames: int) -> Path:
        """The configuration's file."""
        return self.folder / f"demo_{frames}f.yaml"

    def checkpoint(self, frames: int) -> Path:
        """The same network's, which fits any number of segments."""
        return next(self.checkpoints.glob(f"demo_{frames}f.*"))

    @property
    def videos(self) -> list[tuple[Path, int]]:
        """The test list: paths and labels."""
        lines = (self.root / "test.txt").read_text().splitlines()
        return [(self.root / path, int(label)) for path, label in map(str.split, lines)]

    def evaluated(self, frames: int, crops: int = 1, clips: int = 1) -> Path:
        """The folder of an evaluation by ``tdn evaluate``; it is made but once."""
        name = "run" if (frames, crops, clips) == (2, 1, 1) else f"{frames}f_{crops}x{clips}"
        output = self.folder / name
        words = ["--config", self.recipe(frames), "--checkpoint", self.checkpoint(frames)]
        words += ["--evaluation.crops", crops, "--evaluation.clips", clips, "--output", output]
        with _alone(self.folder):
            if not (output / "metrics.json").exists():
                assert main(["evaluate", *map(str, words)]) == 0
        return output

    def scores(self, frames: int, crops: int = 1, clips: int = 1) -> Scores:
        """What an evaluation wrote."""
        return Scores.load(self.evaluated(frames, crops, clips) / "scores.npz")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DemoTraining:
    """The training. Test processes share it: one trains, the others wait."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    made = DemoTraining(place / "demo training")
    with _alone(place):
        if not (made.folder / "finished").exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TDN_CACHE", str(tmp_path_factory.mktemp("cache")))
                _train(made)
            (made.folder / "finished").touch()
    return made


def _train(made: DemoTraining) -> None:
    root = made.root
    write_demo_data(root, clips=12, validation_clips=12, codec="mjpeg", workers=1)
    # Some that it was trained on, a phone's video, one of odd sides, and a short folder of frames.
    rows: list[tuple[Path | str, int]] = [
        (path, int(label))
        for path, label in map(str.split, (root / "train.txt").read_text().splitlines()[::3])
    ]
    odd = root / "odd"
    odd.mkdir()
    phone = write_video(odd / "phone", 30, codec="h264", size=(98, 130), audio=True, options={})
    rows.insert(1, (rotate_mp4(phone, 90).relative_to(root), 0))
    rows.insert(3, (write_video(odd / "sides", 25, size=(75, 101)).relative_to(root), 5))
    (odd / "frames").mkdir()
    for number in range(6):
        picture = Image.fromarray(numbered_frame(37 * number, 60, 81))
        picture.save(odd / "frames" / f"{number + 1:05d}.jpg")
    rows.append(("odd/frames", 2))
    write_list(root / "test.txt", rows)
    for frames in (2, 3):
        made.recipe(frames).write_text(RECIPE.format(frames=frames, root=root))
    result = train(load_config(made.recipe(2), ["--output", str(made.run)]))
    made.checkpoints.mkdir()
    for name in ("demo_2f.pt", "demo_3f.pth.tar"):
        shutil.copy(result.last, made.checkpoints / name)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other test process is in here with the same folder."""
    with (folder / "lock").open("w") as file:
        lock(file, wait=True)
        yield
