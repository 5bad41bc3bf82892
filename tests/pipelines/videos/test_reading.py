from __future__ import annotations

import errno
import io

import av
import numpy as np
import pytest

from tdn.pipelines.videos import reading as video_reading
from tdn.pipelines.videos.reading import DecodingError, decoded_frames, open_video
from tdn.pipelines.videos.survey import survey_video
from tests.corpus import FRAMES, encode, remux
from tests.videos import read_number


def shown(file: str | io.BytesIO) -> list[int]:
    with open_video(file) as video:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in decoded_frames(video)]


@pytest.fixture(scope="module")
def h264(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("h264") / "a.mkv", "h264")


def test_a_path_and_its_bytes_give_the_same(h264):
    assert shown(str(h264)) == shown(io.BytesIO(h264.read_bytes())) == list(range(FRAMES))


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    """A video without a packet that others refer to."""
    folder = tmp_path_factory.mktemp("hevc")
    whole = encode(folder / "a.mkv", "hevc")
    return remux(whole, folder / "b.mkv", keep=lambda number, _: number != 15)


def test_a_lost_packet_is_an_error_where_ffmpeg_would_repeat_or_leave_out_frames(gap):
    with av.open(str(gap)) as container:
        concealed = [
            read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]
    assert concealed != list(range(FRAMES))
    with pytest.raises(DecodingError, match=r"frame 1[0-9] "):
        shown(str(gap))
    with pytest.raises(DecodingError):
        survey_video(str(gap), thorough=True)


def test_frames_before_the_damage_are_given(gap):
    given = []
    with open_video(str(gap)) as video:
        frames = decoded_frames(video)
        with pytest.raises(DecodingError):
            given.extend(read_number(frame.to_ndarray(format="rgb24")) for frame in frames)
    assert given == list(range(len(given)))
    assert len(given) >= 10


@pytest.mark.parametrize("name", ["text.mp4", "sound.mp4", "empty.webm"])
def test_what_is_no_video_says_so(tmp_path, name):
    path = tmp_path / name
    if name == "sound.mp4":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate = 48000
            container.mux(stream.encode(silence))
            container.mux(stream.encode())
    else:
        path.write_text("not a video, but text\n" * 50 if name == "text.mp4" else "")
    with pytest.raises(DecodingError) as error, open_video(str(path)):
        pass
    assert str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("after", [0, 40_000, 90_000])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_an_error_of_the_storage_is_not_the_end_of_the_file(tmp_path, monkeypatch, suffix, after):
    pictures = np.random.default_rng(0).integers(0, 256, (10, 96, 128, 3), np.uint8)
    path = encode(tmp_path / f"a{suffix}", "h264", list(pictures))
    assert path.stat().st_size > 120_000

    class Failing(video_reading._File):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() + (size or 0) > after:
                self.error = OSError(errno.ESTALE, "Stale file handle")
                return b""
            return super().read(size)

    monkeypatch.setattr(video_reading, "_File", Failing)
    with pytest.raises(OSError, match="Stale"), open_video(str(path)) as video:
        for _ in decoded_frames(video):
            pass
    with pytest.raises(OSError, match="Stale"):
        survey_video(str(path), thorough=False)


def test_a_read_that_fails_is_remembered():
    with video_reading._File("/proc/self/mem") as file:  # nothing lies at its start
        assert file.read(16) == b""
        assert isinstance(file.error, OSError)
        assert file.error.errno == errno.EIO


def test_a_missing_file_and_a_folder_are_errors_of_the_storage(tmp_path):
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(OSError, match=r"No such file|directory"), open_video(str(path)):
            pass
