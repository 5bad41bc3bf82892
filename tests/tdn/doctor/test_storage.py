from __future__ import annotations

import errno
import os

import pytest

from tdn.doctor import storage
from tdn.doctor.storage import Folder, check_cache, check_output, judge, look

FINE = Folder("/data/runs", free=100 * 10**9)
ELSEWHERE = "choose --output"


def judged(folder, **settings):
    return list(judge("output", folder, ELSEWHERE, **settings))


def test_room():
    (finding,) = judged(FINE)
    assert finding.level == "ok"
    assert "/data/runs" in finding.found


def test_no_room():
    (finding,) = judged(FINE._replace(free=10**8))
    assert finding.level == "fail"
    assert ELSEWHERE in finding.remedy
    assert judged(FINE, needed=200e9)[0].level == "fail"


def test_no_locks():
    assert judged(FINE._replace(locks=False))[0].level == "ok"
    (finding,) = judged(FINE._replace(locks=False), locked=True)
    assert finding.level == "fail"
    assert ELSEWHERE in finding.remedy


@pytest.mark.parametrize(("skew", "word"), [(90.0, "ahead"), (-90.0, "behind")])
def test_a_storage_with_another_clock(skew, word):
    room, clock = judged(FINE._replace(skew=skew))
    assert room.level == "ok"
    assert clock.level == "warn"
    assert word in clock.found
    assert "timedatectl" in clock.remedy


def test_a_problem_is_all_there_is_to_say():
    (finding,) = judged(Folder("/data/runs", "read-only file system"))
    assert finding.level == "fail"
    assert "read-only" in finding.found
    assert finding.remedy == ELSEWHERE


def test_looking_leaves_nothing_behind(tmp_path):
    found = look(tmp_path / "not" / "there" / "yet")
    assert found.problem == ""
    assert found.free > 0
    assert found.locks
    assert abs(found.skew) < 60
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "runs").write_text("")
    assert "not a directory" in look(tmp_path / "runs" / "mine").problem


def test_a_dangling_link_in_the_way(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "gone")
    assert look(tmp_path / "runs").problem


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    assert look(tmp_path).problem == "read-only file system"


def test_the_default_output_is_a_guess(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (finding,) = check_output()
    assert finding.level == "ok"
    assert str(tmp_path / "runs") in finding.found
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").write_text("")
    (finding,) = check_output()
    assert finding.level == "warn"
    assert "--output" in finding.remedy


def test_the_cache_is_where_manifests_go(tmp_path, monkeypatch):
    monkeypatch.setenv("TDN_CACHE", str(tmp_path / "cache"))
    (finding,) = check_cache()
    assert finding.level == "ok"
    assert str(tmp_path / "cache") in finding.found
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TDN_CACHE", str(tmp_path / "file"))
    (finding,) = check_cache()
    assert finding.level == "fail"
    assert "TDN_CACHE" in finding.remedy
