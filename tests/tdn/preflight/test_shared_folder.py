from __future__ import annotations

from types import SimpleNamespace

import pytest

from tdn.preflight import shared_folder
from tdn.training.processes.board import Board


@pytest.fixture
def nodes(monkeypatch):
    """Both of two, which read one board."""
    monkeypatch.setattr(shared_folder, "_PATIENCE", 0.3)
    first = SimpleNamespace(board=Board(None), nodes=2, is_first=True, names=("a", "b"))
    return first, SimpleNamespace(**vars(first) | {"is_first": False})


def test_a_folder_that_both_see(nodes, tmp_path):
    first, second = nodes
    with shared_folder.shown(tmp_path / "run", first), shared_folder.shown(tmp_path, second):
        assert list(shared_folder.judge(tmp_path / "run", second)) == []
        assert list(shared_folder.judge(tmp_path / "run", first)) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_each_has_for_itself(nodes, tmp_path):
    first, second = nodes
    with shared_folder.shown(tmp_path / "run", first):
        (finding,) = shared_folder.judge(tmp_path / "another disk" / "run", second)
    assert finding.level == "fail"
    assert "a" in finding.found
    assert "--output" in finding.remedy


def test_both_waits_take_no_longer_than_one(nodes, tmp_path, monkeypatch):
    """First for word of the file, which comes late, then for the file."""
    now = [0.0]

    def sleep(_seconds):
        now[0] += 1

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(shared_folder, "time", clock)
    _, second = nodes

    def read(_key, wait):
        now[0] += wait
        return "file"

    second.board = SimpleNamespace(read=read)
    (finding,) = shared_folder.judge(tmp_path, second)
    assert finding.level == "fail"
    assert now[0] <= shared_folder._PATIENCE + 1


def test_a_folder_that_cannot_be_written_is_for_another_check(nodes, tmp_path):
    first, second = nodes
    (tmp_path / "file").write_text("")
    with shared_folder.shown(tmp_path / "file", first):
        assert list(shared_folder.judge(tmp_path / "file", second)) == []


def test_nothing_is_written_where_nobody_looks(nodes, tmp_path):
    first, second = nodes
    alone = SimpleNamespace(**vars(first) | {"nodes": 1})
    for output, roll in ((tmp_path / "run", alone), (None, first), (tmp_path / "run", second)):
        with shared_folder.shown(output, roll):
            assert list(shared_folder.judge(output, alone)) == []
            assert list(tmp_path.iterdir()) == []
