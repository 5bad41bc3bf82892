"""Excerpts of videos: fewer frames are decoded, and they are the same ones, bit by bit."""

from __future__ import annotations

import functools
import io
import os
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.decoding.excerpts import excerpt, pays
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.reading import DecodingError, decoded_frames, open_video
from tests.pipelines.odd_videos import damage_packet, write_timed_video
from tests.sources import write_shard
from tests.videos import read_number, write_list, write_video

FRAMES = 60
FIXED = {"keyint_min": "6", "sc_threshold": "0"}
VIDEOS = {
    "vp8": ("vp8", {"g": "7"}),
    "vp9": ("vp9", {"g": "6", "cpu-used": "8"}),
    "vp9 with frames that are never shown": (
        "vp9",
        {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"},
    ),
    "h264": ("h264", {"g": "6", "bf": "0", **FIXED}),
    "h264 with B-frames": ("h264", {"g": "6", "bf": "3", "b_strategy": "0", **FIXED}),
    "h264 with pyramids": ("h264", {"g": "12", "bf": "5", "x264-params": "b-pyramid=normal"}),
    "h264 with open groups": ("h264", {"g": "6", "bf": "3", "x264-params": "open-gop=1"}),
    "h264, all key frames": ("h264", {"g": "1"}),
}


@functools.cache
def folder() -> Path:
    return Path(tempfile.mkdtemp())


@functools.cache
def clip_of(kind: str) -> Clip:
    codec, options = VIDEOS[kind]
    path = write_video(folder() / kind.replace(" ", "_"), FRAMES, codec=codec, options=options)
    return indexed(path)


def indexed(path: Path) -> Clip:
    listed = write_list(path.with_suffix(".txt"), [(path, 0)])
    manifest = index_list(listed, path.with_suffix(".arrow"), progress=False).manifest
    assert not manifest.problems()
    return manifest.clip(0)


def decoded(file: str | bytes) -> list[np.ndarray]:
    with open_video(file if isinstance(file, str) else io.BytesIO(file)) as video:
        frames = decoded_frames(video)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


@functools.cache
def whole(kind: str) -> list[np.ndarray]:
    return decoded(clip_of(kind).path)


def packets(file: str | bytes) -> int:
    with av.open(file if isinstance(file, str) else io.BytesIO(file)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


@given(
    kind=st.sampled_from(sorted(VIDEOS)),
    wanted=st.sets(st.integers(0, FRAMES - 1), min_size=1, max_size=12),
)
def test_an_excerpts_frames_are_the_videos(kind, wanted):
    numbers = np.array(sorted(wanted))
    found = excerpt(clip_of(kind).path, numbers)
    frames = decoded(found.content)
    assert len(found.frames) == len(numbers)
    for number, place in zip(numbers, found.frames, strict=True):
        assert read_number(frames[place]) == number
        assert np.array_equal(frames[place], whole(kind)[number])


@pytest.mark.parametrize(
    ("kind", "gop"),
    [("vp8", 7), ("vp9", 6), ("h264", 6), ("h264 with B-frames", 6), ("h264, all key frames", 1)],
)
def test_only_groups_with_wanted_frames_are_kept(kind, gop):
    clip = clip_of(kind)
    assert clip.gop == gop
    wanted = np.array([2 * gop, 7 * gop])
    most = 2 * gop if "B-frames" in kind else 2
    assert 2 <= packets(excerpt(clip.path, wanted).content) <= most
    last = np.array([FRAMES - 1])
    assert packets(excerpt(clip.path, last).content) <= gop


def test_open_groups_are_no_places_to_begin():
    clip = clip_of("h264 with open groups")
    assert clip.gop == FRAMES
    assert not pays(clip, np.array([FRAMES - 1]))
    wanted = np.array([FRAMES - 1])
    assert packets(excerpt(clip.path, wanted).content) == FRAMES


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("codec", ["mjpeg", "h264", "vp9", "hevc", "mpeg4"])
def test_groups_are_known_where_that_is_sure(tmp_path, codec, suffix):
    path = write_video(tmp_path / f"clip{suffix}", 13, codec=codec)
    gop = indexed(path).gop
    assert gop in {"mjpeg": (1,), "h264": range(1, 7), "vp9": (6,)}.get(codec, (0, 13))


def test_videos_that_dali_must_not_decode_have_no_groups(tmp_path):
    assert indexed(write_video(tmp_path / "clip.avi", 9, codec="mjpeg")).gop == 0
    transport = write_video(tmp_path / "clip.ts", 9, codec="h264", options={"g": "3"})
    assert indexed(transport).gop == 0


@pytest.mark.parametrize(
    ("gop", "wanted", "worth"),
    [
        (0, [290], False),
        (300, [290], False),
        (8, [290], True),
        (8, [5, 9, 11], False),
        (1, range(0, 40, 2), True),
        (1, range(40), False),
        (12, [0, 20, 40, 60, 80], True),
        (12, [11, 23], False),
    ],
)
def test_it_is_done_where_it_pays(gop, wanted, worth):
    clip = clip_of("vp9")._replace(gop=gop)
    assert pays(clip, np.array(wanted)) == worth


def test_times_out_of_the_ordinary(tmp_path):
    times = [5000 + 7 * number + 900 * (number // 5) for number in range(30)]
    options = {"g": "5", "bf": "2", "b_strategy": "0", "keyint_min": "5", "sc_threshold": "0"}
    clip = indexed(write_timed_video(tmp_path / "clip", times, options=options))
    assert clip.gop == 5
    found = excerpt(clip.path, np.array([7, 22, 29]))
    frames = decoded(found.content)
    assert [read_number(frames[place]) for place in found.frames] == [7, 22, 29]
    assert len(frames) == 15
    with av.open(io.BytesIO(found.content)) as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    assert shown == sorted(set(shown))


def test_damage_and_missing_frames_are_errors(tmp_path):
    path = write_video(tmp_path / "clip", 40)
    with pytest.raises(DecodingError, match="frame 40 is missing"):
        excerpt(str(path), np.array([3, 40]))
    with pytest.raises(FileNotFoundError):
        excerpt(str(tmp_path / "none.webm"), np.array([3]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodingError, match="frame 39 is missing"):
        excerpt(str(path), np.array([3, 39]))
    (tmp_path / "text.webm").write_text("no video\n" * 99)
    with pytest.raises(DecodingError):
        excerpt(str(tmp_path / "text.webm"), np.array([3]))


@pytest.fixture
def long_clips(tmp_path):
    """Videos of which a training clip needs but a part, in files and in a shard."""
    sources = []
    for row, codec in enumerate(("vp9", "h264", "vp9", "h264", "mjpeg", "vp8")):
        options = {} if codec == "mjpeg" else {"g": "4", "cpu-used": "8"}
        path = tmp_path / (f"{row}.mkv" if codec == "mjpeg" else f"{row}")
        sources.append(write_video(path, 200, codec=codec, options=options))
    listed = write_list(tmp_path / "list.txt", [(path.name, 0) for path in sources])
    samples = [(path.stem, path, "0") for path in sources]
    return listed, write_shard(tmp_path / "all.tar", samples)


@pytest.mark.parametrize("kind", [0, 1], ids=["files", "shard"])
def test_the_loader_decodes_excerpts_and_shows_the_frames_it_says(config, long_clips, kind):
    from tdn.pipelines.decoding import fetching

    cut, original = [], fetching.excerpt

    def watched(file, wanted):
        cut.append(original(file, wanted))
        return cut[-1]

    config.data.train_list = str(long_clips[kind])
    config.data.flip, config.data.scales = False, [1.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "excerpt", watched)
        for batch in create_loader(config, "train"):
            for clip, numbers in zip(batch.clips, batch.frame_numbers, strict=True):
                shown = [read_number(frame) for frame in clip.flatten(0, 1).numpy()]
                assert shown == numbers.flatten().tolist()
    assert len(cut) >= 6
    assert all(packets(each.content) < 60 for each in cut)


def test_damage_inside_an_excerpt_is_told_by_the_loader(config, long_clips, caplog):
    listed, _ = long_clips
    config.data.train_list = str(listed)
    config.data.max_bad_share = 0.9
    create_loader(config, "train")  # indexes
    manifest = index_list(listed, listed.with_suffix(".arrow"), progress=False).manifest
    config.data.train_list = str(manifest.file)
    path = listed.parent / "1.mp4"
    for packet in range(1, 190, 5):
        damage_packet(path, packet)
    state = manifest.clip(1).mtime
    os.utime(path, ns=(state, state))  # a fault that file checks do not see
    loader = create_loader(config, "train")
    for _ in loader:
        pass
    assert loader.lost == {1}
