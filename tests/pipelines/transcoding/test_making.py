"""One copy: exact, with key frames where they are to be, or not there at all."""

from __future__ import annotations

import errno
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tdn.pipelines.demo_data.classes import motion_classes
from tdn.pipelines.demo_data.render import render_clip
from tdn.pipelines.indexing.probe import probe_video
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.transcoding import making
from tdn.pipelines.transcoding.making import Job, Made, make_copy
from tests.pipelines.odd_videos import damage_packet, write_timed_video
from tests.sources import write_frame_folder
from tests.videos import read_number, write_list, write_video

SUFFIXES = {"vp9": ".webm", "h264": ".mp4", "mjpeg": ".mkv", "jpeg": ""}


@pytest.fixture
def job(tmp_path):
    """Makes a job out of a file or a folder of frames."""

    def made(source, format="h264", gop=4, size=(96, 128), key=""):
        listed = write_list(tmp_path / "list.txt", [(source, 0)])
        manifest = index_list(listed, tmp_path / "list.arrow", progress=False).manifest
        target = tmp_path / "copies" / f"a{'.part' if key else SUFFIXES[format]}"
        temporary = str(tmp_path / "temporary")
        return Job(manifest.clip(0), size, format, gop, temporary, str(target), key)

    return made


def packets(path):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("format", ["vp9", "h264", "mjpeg"])
@pytest.mark.parametrize("gop", [1, 4, 7])
def test_a_video_has_every_frame_and_a_key_frame_every_so_often(tmp_path, job, format, gop):
    wanted = job(write_video(tmp_path / "clip", 23), format, gop)
    made = make_copy(wanted)
    target = Path(wanted.target)
    assert [read_number(frame) for frame in decoded(target)] == list(range(23))
    assert made == Made(23, target.stat().st_size, Path(wanted.clip.path).stat().st_size)
    found = packets(target)
    keys = [number for number, packet in enumerate(found) if packet.is_keyframe]
    assert keys == list(range(0, 23, 1 if format == "mjpeg" else gop))
    assert [packet.pts for packet in found] == sorted(packet.pts for packet in found)
    assert [packet.pts for packet in found] == [packet.dts for packet in found]
    assert not Path(wanted.temporary).exists()


@pytest.mark.parametrize("format", ["vp9", "h264"])
def test_a_group_of_pictures_stands_for_itself(tmp_path, job, format):
    """Decoding may start at any key frame and gives the same pixels."""
    wanted = job(write_video(tmp_path / "clip", 12), format, 4)
    make_copy(wanted)
    whole = decoded(wanted.target)
    with av.open(wanted.target) as container:
        stream = container.streams.video[0]
        rest = [packet for packet in container.demux(stream) if packet.size][8:]
        stream.codec_context.flush_buffers()
        frames = [frame for packet in rest for frame in packet.decode()]
        frames += stream.codec_context.decode(None)
        pixels = [frame.to_ndarray(format="rgb24") for frame in frames]
    assert np.array_equal(pixels, whole[8:])


@pytest.mark.parametrize("format", SUFFIXES)
def test_copies_look_like_their_originals(tmp_path, job, format):
    frames = render_clip(0, "train", 1, motion_classes(12)[4])[:8]
    folder = write_frame_folder(tmp_path / "clip", list(frames), quality=98)
    wanted = job(folder, format, 1 if format == "jpeg" else 4, size=frames.shape[1:3])
    make_copy(wanted)
    if format == "jpeg":
        copies = [np.asarray(Image.open(path)) for path in sorted(Path(wanted.target).iterdir())]
    else:
        copies = decoded(wanted.target)
    for copy, frame in zip(copies, frames, strict=True):
        assert np.square(copy.astype(float) - frame).mean() < 255**2 / 10**3.4  # 34 dB


def test_equal_originals_give_equal_bytes(tmp_path, job):
    for format in ("vp9", "h264", "mjpeg"):
        wanted = job(write_video(tmp_path / "clip", 12), format)
        make_copy(wanted)
        before = Path(wanted.target).read_bytes()
        make_copy(wanted)
        assert Path(wanted.target).read_bytes() == before


def test_a_folder_of_frames_replaces_the_old_one(tmp_path, job):
    for frames in (5, 3):
        wanted = job(write_video(tmp_path / "clip", frames), "jpeg")
        made = make_copy(wanted)
        names = sorted(path.name for path in Path(wanted.target).iterdir())
        assert names == [f"{number:05d}.jpg" for number in range(1, frames + 1)]
        pictures = [Image.open(Path(wanted.target) / name) for name in names]
        assert [read_number(np.asarray(picture)) for picture in pictures] == list(range(frames))
        assert made.bytes == sum(p.stat().st_size for p in Path(wanted.target).iterdir())
        assert made.frames == frames


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_part_is_the_members_of_a_tar_file(tmp_path, job, format):
    key = "folder with a long name/" + "x" * 150
    wanted = job(write_video(tmp_path / "clip", 6), format, key=key)
    made = make_copy(wanted)
    part = Path(wanted.target)
    assert made.bytes == part.stat().st_size
    assert made.bytes % 512 == 0
    with tarfile.open(part, ignore_zeros=True) as tar:
        names = tar.getnames()
        contents = [tar.extractfile(name).read() for name in names]
    if format == "jpeg":
        assert names == [f"{key}/{number:05d}.jpg" for number in range(1, 7)]
        return
    assert names == [key + SUFFIXES[format]]
    (tmp_path / "inside").write_bytes(contents[0])
    assert probe_video(tmp_path / "inside").frames == 6


def test_frames_shown_at_odd_times_are_kept_one_by_one(tmp_path, job):
    times = [0, 1, 2, 900, 901, 5000, 5040, 5041]
    wanted = job(write_timed_video(tmp_path / "clip", times, options={"bf": "3"}))
    make_copy(wanted)
    assert [read_number(frame) for frame in decoded(wanted.target)] == list(range(len(times)))


@pytest.mark.parametrize("format", SUFFIXES)
def test_damage_leaves_nothing_behind(tmp_path, job, format):
    path = write_video(tmp_path / "clip", 12)
    damage_packet(path, 5)
    wanted = job(path, format)
    made = make_copy(wanted)
    assert "frame 5" in made.problem
    assert not Path(wanted.target).exists()
    assert not Path(wanted.temporary).exists()


def test_an_encoder_that_drops_a_frame_is_found_out(tmp_path, job, monkeypatch):
    from tdn.pipelines.transcoding import writers

    def dropping(file, frames, codec, rate):
        return encode(file, list(frames)[1:], codec, rate) + 1

    encode = writers.encode_video
    monkeypatch.setattr(writers, "encode_video", dropping)
    wanted = job(write_video(tmp_path / "clip", 12))
    assert "12 frames" in make_copy(wanted).problem
    assert not Path(wanted.target).exists()


@pytest.mark.parametrize("format", SUFFIXES)
@pytest.mark.parametrize("key", ["", "a"])
def test_a_disk_that_is_full_is_not_the_originals_fault(tmp_path, job, format, key, full_disk):
    wanted = job(write_video(tmp_path / "clip", 12), format, key=key)
    with full_disk:
        assert make_copy(wanted) == errno.EFBIG
    assert not Path(wanted.target).exists()


@pytest.fixture
def full_disk():
    """Files cannot grow beyond 1 KB inside this context."""
    import contextlib
    import resource
    import signal

    @contextlib.contextmanager
    def limited():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return limited()


def test_an_interrupted_copy_is_not_there(tmp_path, job, monkeypatch):
    """Whatever happens before the last step, the target does not exist."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "_move", killed)
    wanted = job(write_video(tmp_path / "clip", 12))
    with pytest.raises(KeyboardInterrupt):
        make_copy(wanted)
    assert not Path(wanted.target).exists()
