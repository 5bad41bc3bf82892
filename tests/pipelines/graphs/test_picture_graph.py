from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tdn.pipelines.decoding.fetching import Fetched
from tdn.pipelines.graphs.photometric_nodes import NO_EFFECTS
from tdn.pipelines.graphs.picture_graph import PictureGraph, _graph
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Crop
from tdn.pipelines.sampling.plans import Place, View
from tests.videos import numbered_frame, read_number

SIZE = (48, 64)
WHOLE = Crop((0, 0, *SIZE), (0.0, 0.0, *map(float, SIZE)))


def clip_of(count: int, mode: str = "rgb") -> Clip:
    return Clip(
        row=0,
        path="none",
        label=0,
        frames=count,
        width=SIZE[1],
        height=SIZE[0],
        rotation=0,
        codec="jpeg",
        pixel_format=mode,
        size=0,
    )


def encoded(count: int) -> list[np.ndarray]:
    files = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(numbered_frame(number, *SIZE)).save(file, "jpeg", quality=95)
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    return files


def run(views: list[View], fetched: list[Fetched]) -> np.ndarray:
    graph = PictureGraph(SIZE, None)

    def source(info):
        if info.iteration:
            raise StopIteration
        return graph.inputs(views, fetched)

    places = max(view.frames.size for view in views)
    pipeline = graph.pipeline(source, views=len(views), places=places, threads=1, prefetch=1)
    return torch.from_dlpack(pipeline.run()[0].as_tensor()).numpy()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(st.integers(0, 8), min_size=5, max_size=5), min_size=1, max_size=4))
def test_every_place_holds_the_frame_that_was_asked_for(clips):
    """Whatever frames repeat, within a clip; from encoded files and from decoded pictures."""
    files, pictures = encoded(9), [numbered_frame(number, *SIZE) for number in range(9)]
    views, fetched = [], []
    for number, frames in enumerate(clips):
        views.append(View(clip_of(9), 0, np.array([frames]), WHOLE, Place(0, 0, 0)))
        distinct = sorted(set(frames))
        if number % 2:
            fetched.append(Fetched(pictures=np.stack([pictures[frame] for frame in distinct])))
        else:
            fetched.append(Fetched([files[frame] for frame in distinct]))
    found = run(views, fetched)
    assert [read_number(frame) for frame in found] == [frame for clip in clips for frame in clip]


@pytest.mark.parametrize("mirror", [False, True])
def test_only_the_window_is_decoded_and_it_is_the_pictures_own(mirror):
    """Within a grey level of cutting the decoded whole; the picture's left is the crop's right."""
    window = (5, 9, 30, 40)
    region = (0.0, 40.0, 30.0, 0.0) if mirror else (0.0, 0.0, 30.0, 40.0)
    (file,) = encoded(1)
    view = View(clip_of(1), 0, np.zeros((1, 5), int), Crop(window, region), Place(0, 0, 0))
    (found, *_) = run([view], [Fetched([file])])
    whole = Image.open(io.BytesIO(file.tobytes())).crop((9, 5, 49, 35))
    expected = np.asarray(whole.resize(SIZE[::-1], Image.Resampling.BILINEAR))
    difference = found.astype(int) - (expected[:, ::-1] if mirror else expected)
    assert np.abs(difference[1:-1, 1:-1]).max() <= 2


def test_the_gpu_graph_is_sound():
    """It can be checked and serialised, but not built, without a GPU."""
    options = {"batch_size": 80, "num_threads": 2, "device_id": None, "exec_dynamic": True}
    graph = _graph(lambda _info: None, (224, 224), True, NO_EFFECTS, **options).serialize()
    assert b"mixed" in graph  # nvJPEG
    for operator in (b"_Resize", b"PermuteBatch", b"ImageSlice"):
        assert operator in graph
    assert b"PythonFunction" not in graph  # nothing comes back to the host


def test_pictures_that_dali_would_colour_otherwise_are_left_to_pillow():
    graph = PictureGraph(SIZE, None)
    assert graph.decodes(clip_of(3))
    assert graph.decodes(clip_of(3, "l"))
    assert not graph.decodes(clip_of(3, "cmyk"))
