from __future__ import annotations

import random

import numpy as np
import pytest

from tdn.pipelines.indexing.probe import probe_video
from tests.videos import rotate_mp4, write_video


@pytest.mark.parametrize("codec", ["vp8", "vp9", "h264", "mjpeg", "mpeg4", "hevc"])
@pytest.mark.parametrize("frames", [1, 3, 20])
def test_every_codec_is_counted_exactly(tmp_path, codec, frames):
    path = write_video(tmp_path / "clip", frames, codec=codec)
    found = probe_video(path)
    assert found.problem == ""
    assert (found.frames, found.height, found.width) == (frames, 96, 128)
    assert found.codec == codec
    assert found.size == path.stat().st_size
    assert found.mtime == path.stat().st_mtime_ns


def test_odd_sizes_audio_and_alt_ref(tmp_path):
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}
    path = write_video(tmp_path / "clip", 30, size=(75, 101), audio=True, options=options)
    found = probe_video(path)
    assert (found.frames, found.height, found.width) == (30, 75, 101)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_turns_the_picture_upright(tmp_path, degrees):
    path = rotate_mp4(write_video(tmp_path / "clip", 3, codec="h264"), degrees)
    clockwise = probe_video(path).rotation
    assert clockwise == (360 - degrees) % 360  # rotation is counted counter-clockwise


def test_b_frames_are_counted(tmp_path):
    path = write_video(tmp_path / "clip", 25, codec="h264", options={"bf": "3", "g": "12"})
    assert probe_video(path).frames == 25


@pytest.mark.parametrize(
    "content", [b"", b"not a video, but text\n" * 50, b"\x00" * 500, bytes(range(256)) * 20]
)
def test_what_is_no_video_has_a_problem(tmp_path, content):
    path = tmp_path / "clip.webm"
    path.write_bytes(content)
    found = probe_video(path)
    assert found.problem
    assert found.frames == 0


def test_missing_files_folders_and_sound_files_have_a_problem(tmp_path):
    assert probe_video(tmp_path / "none.mp4").problem
    assert "folder" in probe_video(tmp_path).problem


def test_a_truncated_file_counts_what_is_left(tmp_path):
    path = write_video(tmp_path / "clip.webm", 40)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = probe_video(path)
    assert found.problem == ""
    assert 1 <= found.frames < 40


@pytest.mark.parametrize("codec", ["vp9", "h264", "mjpeg"])
def test_mutated_files_never_raise(tmp_path, codec):
    path = write_video(tmp_path / "clip", 12, codec=codec)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = random.Random(7)
    for _ in range(25):
        data = whole.copy()
        for _ in range(rng.randrange(1, 40)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(1, len(data))].tobytes())
        found = probe_video(path)
        assert bool(found.problem) == (found.frames == 0)
        assert "\n" not in found.problem


def test_titles_in_other_encodings_do_not_cost_the_video(tmp_path):
    path = write_video(tmp_path / "clip", 8, codec="mjpeg", title="TITLE-IN-LATIN-1")
    path.write_bytes(path.read_bytes().replace(b"TITLE-IN-LATIN-1", b"T\xeft\xeb-in-Latin-1!"))
    found = probe_video(path)
    assert (found.problem, found.frames) == ("", 8)
