"""Copies as tar shards: what WebDataset expects, and no clip made twice."""

from __future__ import annotations

import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from tdn.pipelines.transcoding import run
from tdn.pipelines.transcoding.making import make_copy
from tdn.pipelines.transcoding.run import transcode
from tdn.pipelines.transcoding.settings import CopySettings
from tests.pipelines.transcoding.conftest import EXPECTED, GOOD, ROWS, contents
from tests.videos import write_list, write_video


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Transcodes in this process; returns the source of the copy and what was made."""

    def made(source, format="h264", shards=3):
        asked = []

        def here(_task, requests, _workers, timeout):
            for number, job in enumerate(requests):
                asked.append(Path(job.clip.path).name)
                yield number, make_copy(job)

        monkeypatch.setattr(run, "run_tasks", here)
        gop = 1 if format in ("jpeg", "mjpeg") else 4
        settings = CopySettings(format, 64, gop, shards)
        return transcode(source, tmp_path / "out", settings, progress=False).source, asked

    return made


def members(folder: Path) -> list[list[str]]:
    """Names of each shard's members."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found.append(tar.getnames())
    return found


@pytest.mark.parametrize("format", ["vp9", "h264", "mjpeg", "jpeg"])
@pytest.mark.parametrize("shards", [1, 4, 100])
def test_shards_hold_the_clips_in_order(originals, copy, tmp_path, format, shards):
    source, _ = copy(originals, format, shards)
    assert contents(source) == EXPECTED
    assert len(list((tmp_path / "out").glob("*.tar"))) == -(-len(ROWS) // shards)


def test_the_layout_is_webdatasets(originals, copy, tmp_path):
    copy(originals, "jpeg", 6)
    first, second = members(tmp_path / "out")
    pictures = [f"a/clip/{number:05d}.jpg" for number in range(1, 26)]
    assert first[:27] == [*pictures, "a/clip.cls", "b/clip/00001.jpg"]
    assert [name for name in second if name.endswith(".cls")] == [
        "turned.cls",
        "a/clip_webm.cls",
        "late.cls",
        "frames.cls",
    ]
    with tarfile.open(next((tmp_path / "out").glob("*-000000.tar"))) as tar:
        assert tar.extractfile("a/clip.cls").read() == b"3"
        assert {(info.mtime, info.uid, info.mode) for info in tar} == {(0, 0, 0o644)}


def test_a_second_run_makes_nothing_and_writes_nothing(originals, copy, tmp_path):
    first, _ = copy(originals)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    again, asked = copy(originals)
    assert asked == ["damaged.mp4"]
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")} == before


def test_a_changed_original_is_the_only_one_that_is_made(originals, copy, tmp_path):
    copy(originals)
    untouched = (tmp_path / "out/train-000000.tar").stat().st_mtime_ns
    write_video(originals.parent / "odd.webm", 21)
    source, asked = copy(originals)
    assert asked == ["odd.webm", "damaged.mp4"]
    expected = list(EXPECTED)
    expected[3] = (list(range(21)), 2)
    assert contents(source) == expected
    assert (tmp_path / "out/train-000000.tar").stat().st_mtime_ns == untouched


def test_a_changed_label_makes_nothing(originals, copy):
    copy(originals)
    originals.write_text(originals.read_text().replace("b/clip.mp4 1", "b/clip.mp4 8"))
    source, asked = copy(originals)
    assert asked == ["damaged.mp4"]
    assert contents(source)[1] == (EXPECTED[1][0], 8)


def test_a_lost_shard_is_the_only_one_that_is_made(originals, copy, tmp_path):
    copy(originals)
    (tmp_path / "out/train-000001.tar").unlink()
    cut = tmp_path / "out/train-000003.tar"
    cut.write_bytes(cut.read_bytes()[:-512])
    source, asked = copy(originals)
    assert asked == ["odd.webm", "one.mp4", "damaged.mp4", "late.mp4", "frames"]
    assert contents(source) == EXPECTED


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(3, None), slice(0, 4)])
def test_clips_move_between_shards_without_being_made_again(originals, copy, tmp_path, order):
    rows = [row for row in ROWS if row[0] != "damaged.mp4"][:7]
    write_list(originals, rows)
    copy(originals, "h264", 2)
    extra = [("a/clip.webm", 7)] if order.step else []
    write_list(originals, rows[order] + extra)
    source, asked = copy(originals, "h264", 2)
    assert asked == ["clip.webm"] * len(extra)
    known = {ROWS[row][0]: frames for row, (frames, _) in zip(GOOD, EXPECTED, strict=True)}
    listed = [(name, label) for name, label in rows[order] + extra if name in known]
    assert contents(source) == [(known[name], label) for name, label in listed]
    shards = -(-len(rows[order] + extra) // 2)
    assert len(list((tmp_path / "out").glob("*.tar"))) == shards


@pytest.mark.parametrize("step", range(1, 9))
def test_wherever_a_run_ends_the_next_one_is_right(originals, copy, tmp_path, monkeypatch, step):
    """The journal is cut off at each of its writes, while shards are being replaced."""
    from tdn.pipelines.transcoding.journal import Journal

    rows = [ROWS[row] for row in (0, 1, 2, 4, 5, 6)]
    write_list(originals, rows)
    copy(originals, "h264", 2)
    write_list(originals, rows[::-1])
    write, count = Journal._write, 0

    def failing(self, entry):
        nonlocal count
        count += 1
        if count == step:
            raise KeyboardInterrupt
        write(self, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", failing)
        with suppress(KeyboardInterrupt):
            copy(originals, "h264", 2)
    source, asked = copy(originals, "h264", 2)
    frames = {row: EXPECTED[place][0] for place, row in enumerate(GOOD)}
    wanted = [(frames[row], ROWS[row][1]) for row in (6, 5, 4, 2, 1, 0)]
    assert contents(source) == wanted
    assert len(asked) <= 2  # at most the shard that was being replaced


def test_nothing_but_the_shards_is_left(originals, copy, tmp_path):
    copy(originals)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".train.journal", *(f"train-{shard:06d}.tar" for shard in range(4))]


def test_a_shard_of_bad_clips_only_is_empty(originals, copy, tmp_path):
    write_list(originals, [("a/clip.webm", 0), ("damaged.mp4", 1), ("odd.webm", 2)])
    source, _ = copy(originals, "h264", 1)
    assert [len(names) for names in members(tmp_path / "out")] == [2, 0, 2]
    assert [label for _, label in contents(source)] == [0, 2]
