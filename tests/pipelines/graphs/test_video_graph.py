from __future__ import annotations

import numpy as np
import skimage
import torch
from PIL import Image

from tdn.pipelines.decoding.decoders import video_by_dali
from tdn.pipelines.decoding.fetching import Fetched
from tdn.pipelines.graphs.photometric_nodes import NO_EFFECTS
from tdn.pipelines.graphs.video_graph import VideoGraph, _graph
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Crop, training_crop, validation_crop
from tdn.pipelines.sampling.plans import Place, View

FRAMES = np.arange(20).reshape(4, 5)


def run(pictures: np.ndarray, crop: Crop, target, frames=FRAMES) -> np.ndarray:
    """Pictures through the graph's crop and resize, without a decoder in between."""
    clip = Clip(0, "none", 0, len(pictures), *pictures.shape[2:0:-1], 0, "h264", "yuv420p", 1)

    def source(info):
        if info.iteration:
            raise StopIteration
        y, x, height, width = crop.window
        wanted = pictures[np.unique(frames), y : y + height, x : x + width]
        view = View(clip, 0, frames, crop, Place(0, 0, 0))
        return graph.inputs([view], [Fetched(pictures=wanted)])

    graph = VideoGraph(target, None)
    pipeline = graph.pipeline(source, views=1, places=frames.size, threads=1, prefetch=1)
    return torch.from_dlpack(pipeline.run()[0].as_tensor())[0].numpy()


def photograph(height: int, width: int, count: int = 20) -> np.ndarray:
    """A camera that wanders over a photograph."""
    photo = skimage.data.astronaut()
    starts = [(60 + 6 * i, 100 + 5 * i) for i in range(count)]
    return np.stack([photo[y : y + height, x : x + width] for y, x in starts])


def assert_same_picture(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal within one grey level, and nearly everywhere equal."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert difference.mean() < 0.02


def test_training_crop_is_pils_crop_and_resize():
    pictures = photograph(120, 161)
    rng = np.random.default_rng(1)
    for target in ((64, 64), (100, 100), (48, 80)):
        crop = training_crop((120, 161), target, [1.0, 0.875, 0.75, 0.66], rng)
        y, x, height, width = crop.window
        found = run(pictures, crop, target)
        for frame, picture in zip(found, pictures, strict=True):
            cut = Image.fromarray(picture).crop((x, y, x + width, y + height))
            expected = np.asarray(cut.resize(target[::-1], Image.Resampling.BILINEAR))
            assert_same_picture(frame, expected)


def test_validation_crop_is_pils_resize_of_everything_then_centre_crop():
    for height, width in ((120, 161), (161, 120), (97, 97), (40, 200)):
        pictures = photograph(height, width)
        crop = validation_crop((height, width), (56, 56), 64)
        found = run(pictures, crop, (56, 56))
        if height <= width:
            resized = (64, int(64 * width / height))
        else:
            resized = (int(64 * height / width), 64)
        top, left = (round((side - 56) / 2) for side in resized)
        for frame, picture in zip(found, pictures, strict=True):
            whole = Image.fromarray(picture).resize(resized[::-1], Image.Resampling.BILINEAR)
            expected = np.asarray(whole)[top : top + 56, left : left + 56]
            assert_same_picture(frame, expected)


def test_frames_that_segments_share_are_put_in_every_place():
    pictures = photograph(64, 64, count=9)
    frames = np.minimum(np.array([[0], [1], [1], [6]]) + np.arange(5), 8)
    found = run(pictures, Crop((0, 0, 64, 64), (0, 0, 64, 64)), (64, 64), frames)
    assert np.array_equal(found, pictures[frames.reshape(-1)])


def test_the_gpu_graph_is_sound():
    """It can be checked and serialised, but not built, without a GPU."""
    settings = {"batch_size": 8, "num_threads": 2, "device_id": None, "exec_dynamic": True}
    graph = _graph(lambda _info: None, (224, 224), True, NO_EFFECTS, **settings).serialize()
    assert b"mixed" in graph  # NVDEC
    assert b"_Resize" in graph
    assert b"PythonFunction" not in graph  # nothing comes back to the host


def test_who_decodes_what():
    clip = Clip(0, "a", 0, 9, 64, 64, 0, "h264", "yuv420p", 1, plain=True)
    assert not video_by_dali(clip, gpu=False)
    assert video_by_dali(clip, gpu=True)
    assert not video_by_dali(clip._replace(codec="vp9"), gpu=True)  # NVDEC: from 128 pixels
    assert video_by_dali(clip._replace(codec="vp9", width=176, height=128), gpu=True)
    assert not video_by_dali(clip._replace(codec="vp9", width=176, height=128), gpu=False)
    assert not video_by_dali(clip._replace(rotation=90), gpu=True)
    assert not video_by_dali(clip._replace(plain=False), gpu=True)
    assert not video_by_dali(clip._replace(pixel_format="yuv444p"), gpu=True)
