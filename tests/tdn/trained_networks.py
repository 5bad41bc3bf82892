"""A network as training leaves one, and videos for it: fixtures to import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tdn.config import Config, DataConfig, ModelConfig
from tdn.config_loading import config_to_dict
from tdn.trained import create_network
from tests.videos import numbered_frame, rotate_mp4, write_video

NAMES = ("opening", "closing", "turning over")


def small_config(**model: Any) -> Config:
    """Of a network for ``videos``; with other settings of ``ModelConfig``."""
    return Config(
        model=ModelConfig(name="tdn_resnet10", num_segments=3, num_classes=3, width=8, **model),
        data=DataConfig(batch_size=2, crop_size=(40, 48), short_side=40, num_threads=1),
    )


@pytest.fixture(scope="session")
def config() -> Config:
    return small_config()


def write_checkpoint(path: Path, config: Config, classes: Sequence[str] = NAMES) -> Path:
    """A network with random weights, as training leaves one."""
    torch.manual_seed(3)
    model = create_network(config.model)
    with torch.no_grad():  # running statistics and a scale with which videos differ
        for _ in range(20):
            segments = config.model.num_segments
            model(torch.randint(256, (4, segments, 5, 40, 48, 3), dtype=torch.uint8))
        model.classifier.weight.normal_(0, 0.2)
    content = {
        "model": model.state_dict(),
        "config": config_to_dict(config) | {"of_the_future": {"key": 1}},
        "classes": list(classes),
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, config) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.pt", config)


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> list[Path]:
    """A video, one that a phone took (upright, with sound), and a folder of frames."""
    folder = tmp_path_factory.mktemp("videos")
    turned = [np.rot90(numbered_frame(number, 132, 74)) for number in range(30)]
    phone = write_video(folder / "b phone", turned, codec="h264", audio=True, options={"g": "5"})
    frames = folder / "c frames"
    frames.mkdir()
    for number in range(24):
        Image.fromarray(numbered_frame(number, 48, 64)).save(frames / f"{number + 1:05d}.jpg")
    return [write_video(folder / "a", 40, size=(48, 64)), rotate_mp4(phone, 90), frames]
