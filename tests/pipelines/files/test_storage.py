from __future__ import annotations

import errno
import zlib

import pytest

from tdn.pipelines.files import storage
from tdn.pipelines.files.storage import checksum, patiently


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that were waited; none of them pass."""
    waited: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", waited.append)
    return waited


def failing(times: int, number: int):
    """A read that fails some times, then gives its count of calls."""
    calls = []

    def read():
        calls.append(None)
        if len(calls) <= times:
            raise OSError(number, "no luck")
        return len(calls)

    return read


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN])
def test_errors_that_pass_are_waited_for_longer_and_longer(waits, number):
    assert patiently(failing(3, number)) == 4
    assert len(waits) == 3
    assert waits == sorted(waits)
    assert 1 < sum(waits) < 10


def test_patience_ends(waits):
    with pytest.raises(OSError, match="no luck"):
        patiently(failing(4, errno.EIO))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENOTDIR])
def test_errors_that_stay_are_not_waited_for(waits, number):
    with pytest.raises(OSError, match="no luck"):
        patiently(failing(1, number))
    assert waits == []


def test_a_checksum_is_of_all_bytes(tmp_path):
    data = bytes(range(256)) * 9000  # more than is read at once
    path = tmp_path / "file"
    path.write_bytes(data)
    assert checksum(str(path)) == zlib.crc32(data)
    path.write_bytes(data[:-1] + b"\0")
    assert checksum(str(path)) != zlib.crc32(data)
