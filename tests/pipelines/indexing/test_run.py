from __future__ import annotations

import os

import pyarrow.feather
import pytest

from tdn.errors import UserError
from tdn.pipelines.indexing import run as indexing
from tdn.pipelines.indexing.manifest_cache import cache_path, manifest_of
from tdn.pipelines.indexing.probe import Probe
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests.manifest import Manifest, is_manifest
from tests.videos import write_list, write_video


@pytest.fixture
def listed(tmp_path):
    """A list with two good files, a text file and a missing one."""
    write_video(tmp_path / "a.webm", 10)
    write_video(tmp_path / "b.mp4", 6, codec="h264", size=(50, 70))
    (tmp_path / "text.webm").write_text("no video")
    rows = [("a.webm", 0), ("text.webm", 1), ("b.mp4", 2), ("missing.webm", 0)]
    return write_list(tmp_path / "list.txt", rows)


def index(listed):
    return index_list(listed, listed.with_suffix(".arrow"), workers=2, progress=False)


def test_a_manifest_keeps_every_row_of_the_list(listed):
    manifest = index(listed).manifest
    assert len(manifest) == 4
    assert manifest.labels.tolist() == [0, 1, 2, 0]
    assert manifest.frames.tolist() == [10, 0, 6, 0]
    assert manifest.usable.tolist() == [0, 2]
    clip = manifest.clip(2)
    assert (clip.row, clip.label, clip.frames, clip.height, clip.width) == (2, 2, 6, 50, 70)
    assert clip.path == str(listed.parent / "b.mp4")
    assert [(line, path) for line, path, _ in manifest.problems()] == [
        (2, "text.webm"),
        (4, "missing.webm"),
    ]
    assert all(why for _, _, why in manifest.problems())


def test_a_report_names_what_is_left_out(listed):
    text = str(index(listed))
    assert "2 of 4" in text
    assert "text.webm" in text
    assert "missing.webm" in text


def test_other_programs_can_read_a_manifest(listed):
    table = pyarrow.feather.read_table(index(listed).manifest.file)
    assert table.column("frames").to_pylist() == [10, 0, 6, 0]
    assert table.column("codec").to_pylist() == ["vp9", "", "h264", ""]


def test_a_second_run_reads_only_what_changed(listed):
    assert index(listed).read == 4
    before = listed.with_suffix(".arrow").stat()
    second = index(listed)
    assert (second.read, second.kept) == (1, 3)  # a missing file may have come
    after = listed.with_suffix(".arrow").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)

    write_video(listed.parent / "missing.webm", 4)
    write_video(listed.parent / "a.webm", 12)
    third = index(listed)
    assert (third.read, third.kept) == (2, 2)
    assert third.manifest.frames.tolist() == [12, 0, 6, 4]


def test_the_lists_order_and_labels_are_followed_without_reading_files(listed):
    index(listed)
    write_list(listed, [("b.mp4", 5), ("a.webm", 4), ("b.mp4", 3)])
    again = index(listed)
    assert again.read == 0
    assert again.manifest.labels.tolist() == [5, 4, 3]
    assert again.manifest.frames.tolist() == [6, 10, 6]


def test_a_touched_file_is_read_again(listed):
    index(listed)
    os.utime(listed.parent / "a.webm", ns=(1, 1))
    assert index(listed).read == 2


def test_an_output_that_is_something_else_is_kept(listed):
    output = listed.with_suffix(".arrow")
    output.write_text("precious")
    with pytest.raises(UserError, match=r"list\.arrow"):
        index(listed)
    assert output.read_text() == "precious"


def test_damaged_and_foreign_manifests_are_refused_by_name(listed, tmp_path):
    manifest = index(listed).manifest.file
    data = manifest.read_bytes()
    for name, content in {"cut": data[: len(data) // 2], "text": b"a.webm 0", "empty": b""}.items():
        path = tmp_path / f"{name}.arrow"
        path.write_bytes(content)
        with pytest.raises(UserError, match=name):
            Manifest(path)
    with pytest.raises(UserError, match="none"):
        Manifest(tmp_path / "none.arrow")
    pyarrow.feather.write_feather(
        pyarrow.table({"x": [1]}), str(tmp_path / "foreign.arrow"), compression="uncompressed"
    )
    with pytest.raises(UserError, match="foreign"):
        Manifest(tmp_path / "foreign.arrow")


def test_an_unwritable_output_leaves_nothing_behind(listed):
    with pytest.raises(UserError, match="cannot be written"):
        index_list(listed, listed.parent / "a.webm" / "m.arrow", progress=False)


def test_a_missing_root_is_named(listed):
    with pytest.raises(UserError, match="elsewhere"):
        index_list(listed, listed.with_suffix(".arrow"), root="elsewhere", progress=False)


def test_the_cache_follows_the_list_and_root(listed, tmp_path):
    manifest = manifest_of(listed, progress=False)
    assert manifest.file == cache_path(listed, "")
    assert manifest_of(listed, progress=False).frames.tolist() == manifest.frames.tolist()
    assert cache_path(listed, tmp_path / "other") != cache_path(listed, "")
    write_video(listed.parent / "missing.webm", 4)
    assert manifest_of(listed, progress=False).frames.tolist() == [10, 0, 6, 4]


def test_a_manifest_serves_as_a_list(listed):
    file = index(listed).manifest.file
    assert is_manifest(file)
    assert not is_manifest(listed)
    assert manifest_of(file).usable.tolist() == [0, 2]


def test_relative_and_absolute_lists_mean_the_same(listed, monkeypatch):
    absolute = index(listed).manifest.clip(0).path
    monkeypatch.chdir(listed.parent)
    relative = index_list("list.txt", "other.arrow", progress=False).manifest
    assert relative.clip(0).path == absolute


def test_a_problem_that_may_pass_is_looked_at_again(listed, monkeypatch):
    def crashing(requests, workers, done):
        return [Probe(problem="crashes the decoder") for _ in requests]

    monkeypatch.setattr(indexing, "probe_clips", crashing)
    assert index(listed).manifest.usable.tolist() == []
    monkeypatch.undo()
    assert index(listed).manifest.usable.tolist() == [0, 2]


def test_another_root_can_be_given_for_a_manifest(listed, tmp_path):
    file = index(listed).manifest.file
    assert manifest_of(file, tmp_path / "copy").clip(0).path == str(tmp_path / "copy" / "a.webm")


def test_a_cache_that_cannot_be_written_is_named(listed, monkeypatch):
    monkeypatch.setenv("TDN_CACHE", "/dev/null/cache")
    with pytest.raises(UserError, match="TDN_CACHE"):
        manifest_of(listed, progress=False)


def test_names_too_long_for_a_file_are_refused_or_shortened(listed):
    with pytest.raises(UserError, match="too long"):
        index_list(listed, listed.parent / ("m" * 250), progress=False)
    long = listed.with_name("l" * 250 + ".txt")
    long.write_text(listed.read_text())
    assert manifest_of(long, progress=False).usable.tolist() == [0, 2]


def test_the_digest_tells_other_videos_apart(listed):
    digest = index(listed).manifest.digest()
    assert index(listed).manifest.digest() == digest
    rows = [("b.mp4", 0), ("text.webm", 1), ("a.webm", 2), ("missing.webm", 0)]
    write_list(listed, rows)
    assert index(listed).manifest.digest() != digest
