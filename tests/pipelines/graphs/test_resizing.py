from __future__ import annotations

import numpy as np
import pytest
import skimage
import torch
from nvidia.dali import fn, pipeline_def
from PIL import Image

from tdn.pipelines.graphs.parts import cut_and_resize
from tdn.pipelines.graphs.resizing import resize_region

FRAMES = np.stack([skimage.data.astronaut()[y : y + 90, 100:231] for y in (0, 60, 200)])
REGIONS = [
    (0, 0, 90, 131),  # all of it
    (0, 131, 90, 0),  # mirrored
    (3.5, 10.25, 80.75, 97.5),
    (3.5, 97.5, 80.75, 10.25),
    (10, 20, 70, 110),
]


def with_pillow(frame, region, target):
    y0, x0, y1, x1 = region
    height, width = target
    box = min(x0, x1), y0, max(x0, x1), y1
    resized = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(resized if x0 < x1 else resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("target", [(64, 64), (40, 200), (90, 131), (120, 33)])
def test_is_pillows_resize(region, target):
    found = resize_region(FRAMES, np.array(region, np.float32), target)
    assert found.shape == (3, *target, 3)
    assert found.flags.c_contiguous
    for picture, frame in zip(found, FRAMES, strict=True):
        expected = with_pillow(frame, region, target).astype(int)
        assert np.abs(picture - expected).max() <= 1
        assert np.array_equal(resize_region(frame, np.array(region, np.float32), target), picture)


@pytest.mark.parametrize("region", REGIONS)
def test_the_gpus_resize_gives_the_same(region):
    """DALI's operator, which runs on both, in the place where the GPU's graph has it."""

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, exec_dynamic=True)
    def graph(on_gpu):
        frames = fn.external_source(lambda: [FRAMES], layout="FHWC")
        where = fn.external_source(lambda: [np.array(region, np.float32)])
        return cut_and_resize(frames, where, (64, 64), layout="FHWC", on_gpu=on_gpu)

    here, there = (
        torch.from_dlpack(graph(on).run()[0].as_tensor())[0].int() for on in (False, True)
    )
    difference = (here - there).abs()
    # At a border DALI repeats its pixels, where torch and Pillow leave out what lies beyond.
    assert difference[:, 2:-2, 2:-2].max() <= 1
    assert difference.float().mean() < 0.5
