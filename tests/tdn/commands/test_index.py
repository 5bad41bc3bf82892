from __future__ import annotations

import os

import pytest

from tdn import cli
from tdn.pipelines.manifests.manifest import Manifest
from tests.sources import write_frame_folder, write_shard
from tests.videos import write_list


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two folders of frames in folders of their classes, and what names them."""
    monkeypatch.chdir(tmp_path)
    write_frame_folder(tmp_path / "set" / "climb" / "a", 3, template="img_{:05d}.jpg")
    write_frame_folder(tmp_path / "set" / "dive" / "b", 4, template="img_{:05d}.jpg")
    rows = [("set/climb/a 3", 0), ("set/dive/b 4", 1)]
    write_list(tmp_path / "list.txt", rows)
    (tmp_path / "list.csv").write_text("path,class\nset/climb/a,climb\nset/dive/b,dive\n")
    (tmp_path / "names.txt").write_text("dive\nclimb\nswim\n")
    samples = [("a", tmp_path / "set/climb/a", "climb"), ("b", tmp_path / "set/dive/b", "dive")]
    write_shard(tmp_path / "s-0.tar", samples)
    return tmp_path


def index(capsys, *words: str) -> tuple[int, str, str]:
    status = cli.main(["index", *words, "-o", "m.arrow"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("source", ["list.txt", "list.csv", "set", "s-*.tar", "s-{0..0}.tar"])
def test_every_kind_of_data_set(data, capsys, source):
    status, out, err = index(capsys, source)
    assert (status, err) == (0, "")
    assert "2 of 2 videos usable (2 jpeg); 2 read, 0 unchanged" in out
    manifest = Manifest("m.arrow")
    assert manifest.frames.tolist() == [3, 4]
    assert manifest.labels.tolist() == [0, 1]
    assert manifest.classes == (() if source == "list.txt" else ("climb", "dive"))
    assert "0 read, 2 unchanged" in index(capsys, source)[1]


@pytest.mark.parametrize("source", ["list.csv", "set", "s-0.tar"])
def test_class_names_from_a_file(data, capsys, source):
    assert index(capsys, source, "--classes", "names.txt")[0] == 0
    manifest = Manifest("m.arrow")
    assert manifest.labels.tolist() == [1, 0]
    assert manifest.classes == ("dive", "climb", "swim")


def test_names_of_a_list_of_numbers(data, capsys):
    assert index(capsys, "list.txt", "--classes", "names.txt")[0] == 0
    assert Manifest("m.arrow").labels.tolist() == [0, 1]
    assert Manifest("m.arrow").classes == ("dive", "climb", "swim")


def test_names_of_frames(data, capsys):
    write_frame_folder(data / "flow", 3, template="flow_{:05d}.jpg")
    for picture in (data / "flow").iterdir():
        picture.rename(data / "set/climb/a" / picture.name)
        os.link(data / "set/climb/a" / picture.name, data / "set/dive/b" / picture.name)
    assert index(capsys, "set", "--frame-template", "flow_{:05d}.jpg")[0] == 0
    assert Manifest("m.arrow").frames.tolist() == [3, 3]


def test_what_is_left_out_is_named_as_it_stands_in_the_source(data, capsys):
    (data / "set" / "climb" / "a" / "img_00002.jpg").unlink()
    assert "left out, line 1: set/climb/a: lacks img_00002.jpg" in index(capsys, "list.txt")[1]
    assert "left out: climb/a: lacks img_00002.jpg" in index(capsys, "set")[1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["list.txt", "--classes", "none.txt"], "none.txt"),
        (["list.csv", "--classes", "list.txt"], "list.csv:2"),
        (["set", "--classes", "list.csv"], "climb/a"),
        (["set", "--frame-template", "img.jpg"], "img.jpg"),
        (["set", "--frame-template", "{:05d"], "{:05d"),
        (["set", "--frame-template"], "--frame-template"),
        (["list.txt", "--root", "none"], "none"),
        (["none-{0..3}.tar"], "none-0.tar"),
        (["set/climb"], "set/climb"),
        (["other.arrow"], "other.arrow"),
        (["names.txt"], "names.txt:1"),
        (["s-0.tar", "--workers", "0"], "--workers"),
        (["list.txt", "--workers", "x"], "--workers"),
    ],
)
def test_a_mistake_is_one_line(data, capsys, words, named):
    (data / "other.arrow").write_bytes(b"ARROW1")
    before = sorted(path.name for path in data.iterdir())
    status, out, err = index(capsys, *words)
    assert status == 2
    assert named in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert sorted(path.name for path in data.iterdir()) == before
