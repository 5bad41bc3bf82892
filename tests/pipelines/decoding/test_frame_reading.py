from __future__ import annotations

import random
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest

from tdn.pipelines.decoding.frame_reading import frame_rate, iter_frames
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.reading import DecodingError
from tests.pipelines.odd_videos import damage_packet, write_timed_video
from tests.sources import write_frame_folder, write_shard
from tests.videos import read_number, rotate_mp4, write_list, write_video

VARIABLE = (0, 40, 45, 300, 301, 900, 940, 2000, 2500, 2501, 2600, 2700)
LATE = tuple(5000 + 40 * number for number in range(12))
B_FRAMES = {"bf": "3", "g": "12"}


def clip_of(source, folder) -> Clip:
    """The clip that indexing finds in a file, a folder of frames, or a shard."""
    listed = source if source.suffix == ".tar" else write_list(folder / "l.txt", [(source, 0)])
    manifest = index_list(listed, folder / "l.arrow", progress=False).manifest
    assert not manifest.problems()
    return manifest.clip(0)


def numbers(clip, size=None):
    return [read_number(frame) for frame in iter_frames(clip, size)]


SOURCES = {
    "vp9 with frames that are never shown": lambda path: write_video(
        path, 30, options={"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}
    ),
    "h264 with B-frames": lambda path: write_video(path, 25, codec="h264", options=B_FRAMES),
    "open groups": lambda path: write_video(
        path, 25, codec="h264", options=B_FRAMES | {"x264-params": "open-gop=1"}
    ),
    "hevc": lambda path: write_video(path, 9, codec="hevc"),
    "mpeg4": lambda path: write_video(path, 9, codec="mpeg4"),
    "mjpeg": lambda path: write_video(path, 9, codec="mjpeg"),
    "odd size": lambda path: write_video(path, 9, size=(75, 101)),
    "sound": lambda path: write_video(path, 20, codec="h264", audio=True),
    "one frame": lambda path: write_video(path, 1),
    "three frames": lambda path: write_video(path, 3, codec="h264", options=B_FRAMES),
    "variable rate": lambda path: write_timed_video(path, VARIABLE, options=B_FRAMES),
    "variable rate vp9": lambda path: write_timed_video(path, VARIABLE, codec="vp9"),
    "late start": lambda path: write_timed_video(path, LATE, options=B_FRAMES),
    "folder": lambda path: write_frame_folder(path, 12, template="img_{:05d}.jpg"),
    "folder from 0": lambda path: write_frame_folder(path, 5, first=0),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_frames_come_in_order_and_complete(tmp_path, make):
    clip = clip_of(make(tmp_path / "clip"), tmp_path)
    assert numbers(clip) == list(range(clip.frames))
    assert clip.frames in (1, 3, 5, 9, 12, 20, 25, 30)


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_parts_of_shards(tmp_path, kind):
    video = write_video(tmp_path / "v", 9, codec="h264")
    folder = write_frame_folder(tmp_path / "f", 9)
    source = video if kind == "video" else folder
    shard = write_shard(tmp_path / "s.tar", [("a", source, "1"), ("b", video, "0")])
    clip = clip_of(shard, tmp_path)
    assert clip.offsets
    assert numbers(clip) == list(range(9))
    assert frame_rate(clip) == (12 if kind == "video" else 25)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_are_turned_upright(tmp_path, degrees):
    path = rotate_mp4(write_video(tmp_path / "clip", 5, codec="h264"), degrees)
    clip = clip_of(path, tmp_path)
    turned = [np.rot90(frame, degrees // 90) for frame in iter_frames(clip)]
    assert [read_number(frame) for frame in turned] == list(range(5))
    assert next(iter_frames(clip)).shape[:2] == ((96, 128) if degrees == 180 else (128, 96))
    half = next(iter_frames(clip, (48, 64) if degrees == 180 else (64, 48)))
    assert read_number(np.rot90(half, degrees // 90)) == 0


@pytest.mark.parametrize("kind", ["h264", "mjpeg", "folder"])
def test_any_size_in_right_colours(tmp_path, kind):
    colours = np.array([(250, 20, 20), (20, 240, 20), (20, 20, 250), (255, 255, 255), (0, 0, 0)])
    picture = np.repeat(np.repeat(colours[None].astype(np.uint8), 64, 0), 32, 1)
    if kind == "folder":
        path = write_frame_folder(tmp_path / "clip", [picture] * 2, quality=98)
    else:
        path = write_video(tmp_path / "clip", [picture] * 2, codec=kind)
    clip = clip_of(path, tmp_path)
    for size in ((64, 160), (30, 80), (90, 240)):
        for frame in iter_frames(clip, size):
            assert frame.shape == (*size, 3)
            assert frame.dtype == np.uint8
            shown = frame[size[0] // 2, size[1] // 10 :: size[1] // 5].astype(int)
            assert np.abs(shown - colours).max() < 12


def test_a_truncated_file_gives_what_is_left_of_it(tmp_path):
    path = write_video(tmp_path / "clip.webm", 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    clip = clip_of(path, tmp_path)
    assert 1 <= clip.frames < 40
    assert numbers(clip) == list(range(clip.frames))


@pytest.mark.parametrize("kind", ["h264", "mjpeg", "folder"])
def test_damage_names_the_frame(tmp_path, kind):
    if kind == "folder":
        path = write_frame_folder(tmp_path / "clip", 12)
        (path / "00006.jpg").write_bytes(b"no picture")
    else:
        path = write_video(tmp_path / "clip", 12, codec=kind)
        damage_packet(path, 5)
    clip = clip_of(path, tmp_path)
    seen = []
    with pytest.raises(DecodingError, match=r"^frame \d+ cannot") as error:
        seen.extend(read_number(frame) for frame in iter_frames(clip))
    assert str(len(seen)) in str(error.value)
    assert seen == list(range(5))[: len(seen)]
    assert "\n" not in str(error.value)


def test_a_file_that_is_gone_or_another_is_an_error(tmp_path):
    path = write_video(tmp_path / "clip", 12)
    clip = clip_of(path, tmp_path)
    write_video(path, 7)
    with pytest.raises(DecodingError, match="7"):
        list(iter_frames(clip))
    path.unlink()
    for read in (iter_frames, lambda clip: [frame_rate(clip)]):
        with pytest.raises(DecodingError, match="no such file"):
            list(read(clip))


@pytest.mark.parametrize("codec", ["vp9", "h264", "mjpeg"])
def test_mutated_files_give_frames_or_a_decoding_error(tmp_path, codec):
    path = write_video(tmp_path / "clip", 12, codec=codec)
    clip = clip_of(path, tmp_path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = random.Random(3)
    for _ in range(25):
        data = whole.copy()
        for _ in range(rng.randrange(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(1, len(data))].tobytes())
        with suppress(DecodingError):
            assert [frame.shape for frame in iter_frames(clip, (48, 64))] == [(48, 64, 3)] * 12


def test_the_rate_is_the_average_one(tmp_path):
    assert frame_rate(clip_of(write_video(tmp_path / "a", 9, codec="h264"), tmp_path)) == 12
    variable = write_timed_video(tmp_path / "b", [0, 500, 600, 700, 1500], codec="h264")
    assert 2 < frame_rate(clip_of(variable, tmp_path)) < 5
    assert frame_rate(clip_of(write_frame_folder(tmp_path / "c", 2), tmp_path)) == Fraction(25)
