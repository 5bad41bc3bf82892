"""Copies of whole data sets: exact, in order, complete; made again only where need be."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.pipelines.files.subprocess_workers import Lost
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.transcoding import run
from tdn.pipelines.transcoding.making import make_copy
from tdn.pipelines.transcoding.run import transcode
from tdn.pipelines.transcoding.settings import CopySettings
from tests.pipelines.transcoding.conftest import EXPECTED, FRAMES, GOOD, contents
from tests.sources import write_frame_folder
from tests.videos import write_list, write_video

SMALL = CopySettings("h264", short_side=64, gop=4)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Transcodes in this process, which is quicker; returns the report."""
    asked = []

    def here(_task, requests, _workers, timeout):
        for number, job in enumerate(requests):
            asked.append(Path(job.clip.path).name)
            yield number, make_copy(job)

    def made(source, settings=SMALL, folder=tmp_path / "out"):
        asked.clear()
        monkeypatch.setattr(run, "run_tasks", here)
        report = transcode(source, folder, settings, progress=False)
        made.asked = sorted(asked)
        return report

    return made


FORMATS = [
    CopySettings("vp9", short_side=64, gop=4),
    CopySettings("h264", short_side=64, gop=4),
    CopySettings("mjpeg", short_side=64, gop=1),
    CopySettings("jpeg", short_side=64, gop=1),
]


@pytest.mark.parametrize("settings", FORMATS, ids=lambda settings: settings.format)
def test_frames_labels_and_order_are_the_originals(originals, tmp_path, settings):
    report = transcode(originals, tmp_path / "out", settings, workers=2, progress=False)
    assert contents(report.source) == EXPECTED
    assert report.rows == GOOD
    assert report.made == len(set(GOOD)) - 1  # one comes twice
    told = {line: (path, why) for line, path, why in report.problems}
    assert sorted(told) == [4, 9]
    assert told[9][0] == "damaged.mp4"
    assert "frame " in told[9][1]
    assert "damaged.mp4: frame " in str(report)
    assert "missing.webm" in str(report)


def test_the_list_is_the_released_codes(originals, copy):
    lines = Path(copy(originals, FORMATS[3]).source).read_text().splitlines()
    assert lines[0] == "train/a/clip 25 3"
    assert lines[-1] == "train/frames 7 0"
    lines = Path(copy(originals, SMALL, originals.parent / "other").source).read_text().splitlines()
    assert lines[:3] == ["train/a/clip.mp4 3", "train/b/clip.mp4 1", "train/clip.mp4 0"]


def test_sizes_are_counted(originals, copy, tmp_path):
    report = copy(originals)
    folder = originals.parent
    names = ["a/clip.webm", "b/clip.mp4", "clip.avi", "odd.webm", "one.mp4", "turned.mp4"]
    before = [folder / name for name in [*names, "late.mp4"]] + list((folder / "frames").iterdir())
    assert report.bytes_before == sum(path.stat().st_size for path in before)
    after = [path for path in (tmp_path / "out/train").rglob("*") if path.is_file()]
    assert report.bytes_after == sum(path.stat().st_size for path in after)


def test_nothing_but_the_copy_is_left(originals, copy, tmp_path):
    copy(originals)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".train.journal", "train", "train.txt"]
    stems = {path.stem for path in (tmp_path / "out/train").rglob("*.*")}
    assert stems == {"clip", "odd", "one", "turned", "late", "frames"}


def test_a_second_run_makes_what_is_missing_or_changed(originals, copy, tmp_path):
    """The damaged file is tried again every time: a fault of the storage may have passed."""
    copy(originals)
    report = copy(originals)
    assert copy.asked == ["damaged.mp4"]
    assert report.made == 0
    assert len(report.rows) == len(GOOD)

    (tmp_path / "out/train/odd.mp4").unlink()
    write_video(originals.parent / "clip.avi", 17, codec="mjpeg")
    changed = tmp_path / "out/train/one.mp4"
    changed.write_bytes(changed.read_bytes()[:-1])
    write_video(originals.parent / "damaged.mp4", 11, codec="h264")
    write_video(originals.parent / "missing.webm", 8)
    report = copy(originals)
    wanted = ["clip.avi", "damaged.mp4", "missing.webm", "odd.webm", "one.mp4"]
    assert copy.asked == wanted
    assert report.made == 5
    found = [len(frames) for frames, _ in contents(report.source)]
    lengths = FRAMES | {2: 17, 3: 8, 8: 11}
    assert found == [lengths[row] for row in range(11)]


def test_a_frame_that_is_gone_makes_its_folder_anew(originals, copy, tmp_path):
    copy(originals, FORMATS[3])
    (tmp_path / "out/train/a/clip/00003.jpg").unlink()
    report = copy(originals, FORMATS[3])
    assert copy.asked == ["clip.webm", "damaged.mp4"]
    assert contents(report.source) == EXPECTED


def test_rows_may_change_without_making_anything(originals, copy):
    copy(originals)
    lines = originals.read_text().splitlines()
    originals.write_text("\n".join(["b/clip.mp4 9", *lines[4:7]]) + "\n")
    report = copy(originals)
    assert copy.asked == []
    assert [(len(frames), label) for frames, label in contents(report.source)] == [
        (13, 9),
        (12, 2),
        (1, 5),
        (5, 1),
    ]


def interrupted_after(jobs, monkeypatch):
    def here(_task, requests, _workers, timeout):
        for number, job in enumerate(requests):
            if number == jobs:
                (Path(job.temporary)).write_bytes(b"half a video")
                raise KeyboardInterrupt
            yield number, make_copy(job)

    monkeypatch.setattr(run, "run_tasks", here)


@pytest.mark.parametrize("shards", [0, 3])
def test_an_interrupted_run_goes_on(originals, copy, tmp_path, monkeypatch, shards):
    settings = CopySettings("h264", 64, 4, shards)
    interrupted_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        transcode(originals, tmp_path / "out", settings, progress=False)
    assert not (tmp_path / "out/train.txt").exists()
    assert not list(tmp_path.rglob("*.partial"))
    report = copy(originals, settings)
    rows = len(FRAMES) - (0 if shards else 1)
    assert len(copy.asked) == rows + 1 - 4  # one more that is damaged
    assert contents(report.source) == EXPECTED


def test_a_line_of_the_journal_that_was_cut_off_is_made_again(originals, copy, tmp_path):
    copy(originals)
    journal = tmp_path / "out/.train.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    report = copy(originals)
    assert copy.asked == ["damaged.mp4", "frames"]  # what came last in the list
    assert contents(report.source) == EXPECTED
    copy(originals)
    assert copy.asked == ["damaged.mp4"]


def test_crashes_and_hangs_cost_one_clip_each(originals, copy, monkeypatch, tmp_path):
    def here(_task, requests, _workers, timeout):
        for number, job in enumerate(requests):
            name = Path(job.clip.path).name
            lost = {"odd.webm": Lost("crashes"), "one.mp4": Lost("stops for 120 s")}
            yield number, lost[name] if name in lost else make_copy(job)

    monkeypatch.setattr(run, "run_tasks", here)
    report = transcode(originals, tmp_path / "out", SMALL, progress=False)
    told = {path: why for _, path, why in report.problems}
    assert "crashes" in told["odd.webm"]
    assert "stops" in told["one.mp4"]
    assert report.rows == [row for row in GOOD if row not in (4, 5)]


def test_every_kind_of_source(tmp_path, copy):
    classes = tmp_path / "classes"
    for name in ("run", "walk"):
        (classes / name).mkdir(parents=True)
        write_video(classes / name / "0.webm", 5 + len(name))
    write_frame_folder(classes / "walk/1", 4)
    folders = copy(classes)
    assert contents(folders.source) == [(list(range(n)), c) for n, c in ((8, 0), (9, 1), (4, 1))]
    assert (tmp_path / "out/classes.classes.txt").read_text() == "run\nwalk\n"
    manifest = index_list(classes, tmp_path / "named.arrow", progress=False).manifest
    again = copy(manifest.file)
    assert again.source == folders.source
    assert again.made == 0
    shards = copy(folders.source, CopySettings("vp9", 64, 4, 2), tmp_path / "shards")
    back = copy(shards.source, CopySettings("h264", 64, 4), tmp_path / "back")
    assert contents(back.source) == contents(folders.source)


def test_several_lists_share_a_folder(originals, copy, tmp_path):
    other = originals.with_name("validation.txt")
    shutil.copy(originals, other)
    sources = [copy(each).source for each in (originals, other)]
    assert [Path(source).name for source in sources] == ["train.txt", "validation.txt"]
    assert all(contents(source) == EXPECTED for source in sources)


def listing(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_mistakes_change_nothing(originals, copy, tmp_path):
    folder, out = originals.parent, tmp_path / "out"
    bad = write_list(folder / "bad.txt", [("missing.webm", 0)])
    broken = write_list(folder / "broken.txt", [("damaged.mp4", 0)])
    taken = tmp_path / "taken"
    (taken / "train").mkdir(parents=True)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    before = listing(tmp_path)
    for source, settings, where, named in (
        (bad, SMALL, out, "missing.webm"),
        (broken, SMALL, out / "deep", r"frame \d"),
        (broken, CopySettings("h264", 64, 4, 1), out, r"frame \d"),
        (originals, SMALL, folder, "original"),
        (originals, SMALL, taken, "taken"),
        (originals, SMALL, blocked, "blocked"),
        (originals, SMALL, blocked / "below", "blocked"),
        (originals, CopySettings("mjpeg", 64, 8), out, "--gop"),
        (folder / "none.txt", SMALL, out, "none.txt"),
    ):
        with pytest.raises(UserError, match=named) as error:
            copy(source, settings, where)
        assert "\n" not in str(error.value)
        assert listing(tmp_path) == before


def test_other_settings_and_other_runs_are_refused(originals, copy, tmp_path):
    copy(originals)
    before = listing(tmp_path / "out" / "train")
    with pytest.raises(UserError, match="short_side 64, not 32"):
        copy(originals, CopySettings("h264", 32, 4))
    journal = tmp_path / "out/.train.journal"
    with journal.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another"):
            copy(originals)
    assert listing(tmp_path / "out" / "train") == before
    journal.write_text("something else\n")
    with pytest.raises(UserError, match="damaged"):
        copy(originals)


@pytest.mark.parametrize("answer", [28, 122])
def test_a_full_disk_ends_the_run_with_one_line(originals, tmp_path, monkeypatch, answer):
    def here(_task, requests, _workers, timeout):
        for number, job in enumerate(requests):
            yield number, make_copy(job) if number < 2 else answer

    monkeypatch.setattr(run, "run_tasks", here)
    with pytest.raises(UserError, match=os.strerror(answer).lower()) as error:
        transcode(originals, tmp_path / "out", SMALL, progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out/train.txt").exists()
