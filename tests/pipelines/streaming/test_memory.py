from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from tdn.errors import UserError
from tdn.pipelines.loader import create_loader
from tdn.pipelines.streaming.memory import memory_need
from tests.videos import write_list, write_video

CPU = torch.device("cpu")

_MEASURE = """
import sys, threading, time
from tdn.config_loading import load_config
from tdn.pipelines.loader import create_loader
from tdn.pipelines.streaming.memory import memory_need

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

loader = create_loader(load_config(None, sys.argv[1:]), "train")
before, peak, done = anonymous(), 0, False

def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.005)

thread = threading.Thread(target=watch)
thread.start()
for epoch in range(3):
    loader.set_epoch(epoch)
    for batch in loader:
        time.sleep(0.1)  # the loader runs ahead as far as it may
done = True
thread.join()
need = memory_need(loader.planner, loader.device)
print(peak - before, need.device + need.host)
"""


@pytest.mark.parametrize("codec", ["vp9", "h264"])
def test_a_loader_takes_no_more_than_it_says(tmp_path, codec):
    """Measured in a process of its own, with pictures large enough to outweigh everything else."""
    videos = [write_video(tmp_path / f"{n}", 24, codec=codec, size=(480, 640)) for n in range(2)]
    rows = [(video, 0) for video in videos * 4]
    settings = {
        "data.train_list": write_list(tmp_path / "list.txt", rows),
        "data.batch_size": 4,
        "data.crop_size": 64,
        "data.num_threads": 1,
        "model.num_segments": 4,
        "model.num_classes": 1,
        "training.device": "cpu",
        "logging.progress": "false",
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *words], capture_output=True, text=True, check=True
    )
    taken, said = map(int, done.stdout.split()[-2:])
    decoders = 40e6  # FFmpeg's own buffers and DALI's threads, whatever the batch
    assert taken < said + decoders
    assert taken > said / 5  # no idle bound


def test_a_limit_is_checked_before_anything_is_decoded(config):
    config.data.memory_limit = 0.001
    with pytest.raises(UserError, match=r"data\.memory_limit"):
        create_loader(config, "train")
    config.data.memory_limit = 1.0
    need = memory_need(create_loader(config, "train").planner, CPU)
    frames = config.data.batch_size * config.model.num_segments * 5
    assert need.pixels == 128 * 176
    assert need.device >= frames * 128 * 176 * 3


def test_what_a_loader_takes_is_said(config):
    loader = create_loader(config, "train")
    need = memory_need(loader.planner, CPU)
    assert str(need) in loader.describe()
    together = (need.device + need.host) / 1e6
    assert str(need).startswith(f"up to {together:.1f} MB of memory")
    assert str(dataclasses.replace(need, gpu=True)).count(" MB of ") == 2


def test_memory_grows_with_the_batch_and_the_outside_frames_only_where_there_are_some(config):
    planner = create_loader(config, "train").planner
    small = memory_need(planner, CPU)
    config.data.batch_size *= 2
    large = memory_need(create_loader(config, "train").planner, CPU)
    assert large.device == 2 * small.device
    assert large.host == 2 * small.host > 0  # H.264 by PyAV
