from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tdn.pipelines.decoding.frame_times import frame_times
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.videos.reading import DecodingError
from tests.corpus import begin_later, encode, uneven_times
from tests.videos import numbered_frame, write_list


def clip_of(path):
    listed = write_list(path.parent / "list.txt", [(path.name, 0)])
    return index_list(listed, path.parent / "list.arrow", progress=False).manifest.clip(0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm"])
def test_frames_of_a_constant_rate(tmp_path, name):
    """With and without B-frames, in containers with and without times of their own."""
    codec = {"a.avi": "mpeg4", "a.webm": "vp9"}.get(name, "h264")
    clip = clip_of(encode(tmp_path / name, codec, 20, size=(48, 64)))
    np.testing.assert_allclose(frame_times(clip), np.arange(21) / 12, atol=2e-3)


def test_a_rate_that_varies(tmp_path):
    times = uneven_times()
    clip = clip_of(encode(tmp_path / "a.mkv", "h264", len(times), size=(48, 64), times=times))
    found = frame_times(clip)
    np.testing.assert_allclose(found[:-1], (np.array(times) - times[0]) / 1000, atol=2e-3)
    assert found[-1] > found[-2]


def test_a_video_that_begins_later_than_its_file(tmp_path):
    path = begin_later(encode(tmp_path / "a.mp4", "h264", 20, size=(48, 64)), tmp_path / "b.mp4", 5)
    clip = clip_of(path)
    np.testing.assert_allclose(frame_times(clip), np.arange(clip.frames + 1) / 12, atol=2e-3)


def test_pictures_follow_each_other_at_the_usual_rate(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(numbered_frame(number, 48, 64)).save(folder / f"{number:05d}.jpg")
    np.testing.assert_allclose(frame_times(clip_of(folder)), np.arange(5) / 25)


def test_a_file_that_is_gone(tmp_path):
    path = encode(tmp_path / "a.mp4", "h264", 4, size=(48, 64))
    clip = clip_of(path)
    path.unlink()
    with pytest.raises(DecodingError):
        frame_times(clip)
