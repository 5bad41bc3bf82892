from __future__ import annotations

import errno
import os

import pytest

from tdn.pipelines.files import storage
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests import file_checks
from tdn.pipelines.manifests.file_checks import FileChecks
from tests.videos import write_list, write_video


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "a.webm", 6, size=(48, 64))


@pytest.fixture
def clip(video, tmp_path):
    source = write_list(tmp_path / "list.txt", [(video.name, 0)])
    return index_list(source, tmp_path / "list.arrow", progress=False).manifest.clip(0)


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Paths of the files whose contents are compared."""
    paths: list[str] = []

    def checksum(path: str) -> int:
        paths.append(path)
        return storage.checksum(path)

    monkeypatch.setattr(file_checks, "checksum", checksum)
    return paths


def test_a_file_as_it_was_indexed_is_not_read(clip, read):
    assert FileChecks(1).change(clip) == ""
    assert read == []


def test_a_copy_with_another_time_is_read_once(clip, video, read):
    os.utime(video, ns=(1, 1))
    checks = FileChecks(1)
    assert [checks.change(clip) for _ in range(3)] == ["", "", ""]
    assert len(read) == 1


@pytest.mark.parametrize("after_a_check", [False, True])
def test_another_file_of_the_same_size_is_noticed(clip, video, after_a_check):
    checks = FileChecks(1)
    if after_a_check:
        os.utime(video, ns=(1, 1))
        assert checks.change(clip) == ""
    data = bytearray(video.read_bytes())
    data[-1] ^= 1
    video.write_bytes(data)
    os.utime(video, ns=(2, 2))
    assert "another file" in checks.change(clip)


def test_another_size_is_noticed(clip, video):
    video.write_bytes(video.read_bytes() + b"\0")
    assert f"{clip.size + 1} bytes" in FileChecks(1).change(clip)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_what_is_no_file_is_not_opened(clip, video, kind):
    """To open a FIFO would be to wait for ever."""
    video.unlink()
    if kind == "folder":
        video.mkdir()
    elif kind == "fifo":
        os.mkfifo(video)
    else:
        video.symlink_to("/dev/zero")
    assert "regular file" in FileChecks(1).change(clip)


def test_files_that_cannot_be_reached_are_errors(clip, video):
    video.unlink()
    with pytest.raises(FileNotFoundError):
        FileChecks(1).change(clip)
    video.symlink_to(video)
    with pytest.raises(OSError, match="symbolic links"):
        FileChecks(1).change(clip)


def test_a_hiccup_of_the_storage_passes(clip, monkeypatch):
    calls = []
    stat = os.stat

    def hiccup(path, **options):
        calls.append(path)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **options)

    monkeypatch.setattr(file_checks.os, "stat", hiccup)
    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    assert FileChecks(1).change(clip) == ""
    assert len(calls) == 2
