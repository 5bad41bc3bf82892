from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.files import shard_reading
from tdn.pipelines.files.shard_reading import read_part


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> tuple[str, bytes]:
    path = tmp_path_factory.mktemp("shard") / "s.tar"
    content = np.random.default_rng(0).bytes(100_000)
    path.write_bytes(content)
    return str(path), content


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_any_part_is_read(shard, offset, size):
    path, content = shard
    if offset + size <= len(content):
        assert read_part(path, offset, size) == content[offset : offset + size]
    else:
        with pytest.raises(OSError, match=str(offset + size)):
            read_part(path, offset, size)


def test_parts_are_read_from_any_thread(shard):
    path, content = shard
    places = [(start, 5000) for start in range(0, 90_000, 500)]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda place: read_part(path, *place), places))
    assert parts == [content[start : start + size] for start, size in places]


def test_a_part_comes_whole_from_storage_that_gives_little_at_a_time(shard, monkeypatch):
    path, content = shard
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: pread(file, min(size, 7), offset))
    assert read_part(path, 10, 100) == content[10:110]


def test_only_some_shards_stay_open(tmp_path, monkeypatch):
    opened: set[int] = set()
    for number in range(200):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"%d" % number)
        assert read_part(str(path), 0, 1) == b"%d" % (number // 10 ** (len(str(number)) - 1))
        opened.add(len(open_files(tmp_path)))
    assert max(opened) == shard_reading._OPEN


def open_files(folder: Path) -> list[str]:
    links = [Path(link) for link in os.scandir("/proc/self/fd")]
    return [target for link in links if (target := read_link(link)).startswith(str(folder))]


def read_link(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def test_another_file_in_its_place_is_read(tmp_path):
    """As when a shard is packed anew, or fetched again, while a notebook runs."""
    path = tmp_path / "s.tar"
    path.write_bytes(b"former")
    assert read_part(str(path), 0, 3) == b"for"
    (tmp_path / "new").write_bytes(b"latter")
    (tmp_path / "new").rename(path)
    assert read_part(str(path), 0, 3) == b"lat"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_part(str(path), 0, 3)
