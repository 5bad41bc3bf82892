"""A small data set of real videos with numbered frames, encoded once per test process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig, TrainingConfig
from tdn.pipelines.graphs.video_graph import VideoGraph
from tests.videos import write_list, write_video

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
LENGTHS = (40, 13, 25, 7, 60, 1, 31, 12, 3, 20, 45)
CODECS = ("vp9", "h264", "mjpeg")


@pytest.fixture(scope="session")
def data_set(tmp_path_factory) -> Path:
    """A list of eleven videos of three codecs, label = row modulo 3."""
    folder = tmp_path_factory.mktemp("videos")
    rows = []
    for row, frames in enumerate(LENGTHS):
        codec = CODECS[row % 3]
        size = (75, 101) if row in (3, 5) else (128, 176)  # NVDEC reads VP9 from 128 x 128
        path = write_video(folder / f"{row}", frames, codec=codec, size=size, audio=codec == "vp9")
        rows.append((path.name, row % 3))
    return write_list(folder / "list.txt", rows)


@pytest.fixture(params=["PyAV", "DALI"])
def either_decoder(request, monkeypatch) -> None:
    """On the CPU the loader leaves videos to PyAV; here also as on a GPU, where DALI decodes."""
    if request.param == "DALI":
        by_dali = ("vp8", "vp9")  # that DALI's CPU decoder knows
        decodes = VideoGraph.decodes
        monkeypatch.setattr(
            VideoGraph,
            "decodes",
            lambda graph, clip: decodes(graph, clip) or (clip.plain and clip.codec in by_dali),
        )


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach: pytest's are for their owner."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(params=DEVICES)
def config(data_set, request) -> Config:
    """Small batches over the data set, T = 4; on a machine with a GPU, there too."""
    return Config(
        model=ModelConfig(num_segments=4, num_classes=3),
        data=DataConfig(
            train_list=str(data_set),
            validation_list=str(data_set),
            batch_size=2,
            crop_size=(48, 64),
            short_side=48,
            num_threads=1,
        ),
        training=TrainingConfig(device=request.param),
        logging=LoggingConfig(progress=False),
    )
