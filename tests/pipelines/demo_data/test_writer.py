"""The data set on disk: lists, balance, repeatability, interruption, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tdn.errors import UserError
from tdn.pipelines.demo_data import write_demo_data, writer
from tdn.pipelines.demo_data.classes import flip_labels, motion_classes
from tdn.pipelines.sources.reading import read_listing


def write(folder: Path, **changes):
    arguments = {"clips": 12, "validation_clips": 12, "workers": 1, "progress": False} | changes
    return write_demo_data(folder, **arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def quick(monkeypatch):
    """Clips of a few bytes: for tests of the files, not of the pictures."""
    monkeypatch.setattr(writer, "render_clip", lambda *arguments: arguments)
    monkeypatch.setattr(writer, "encode_video", lambda clip, codec: f"{clip} {codec}".encode())


def test_lists_name_balanced_clips_that_exist(tmp_path, quick):
    data = write(tmp_path / "demo", classes=16, clips=40, validation_clips=32)
    assert data.num_classes == 16
    for list_file, count in ((data.train_list, 40), (data.validation_list, 32)):
        rows = [line.rsplit(" ", 1) for line in list_file.read_text().splitlines()]
        assert len(rows) == count == len({path for path, _ in rows})
        assert all((data.folder / path).stat().st_size > 0 for path, _ in rows)
        per_class = Counter(int(label) for _, label in rows)
        assert sorted(per_class) == list(range(16))
        assert max(per_class.values()) - min(per_class.values()) <= 1
    assert (data.train_clips, data.validation_clips) == (40, 32)


@pytest.mark.parametrize("classes", [12, 16])
def test_label_files_agree_with_the_classes(tmp_path, quick, classes):
    data = write(tmp_path, classes=classes, clips=16, validation_clips=16)
    motions = motion_classes(classes)
    assert data.labels.read_text().splitlines() == [each.name for each in motions]
    assert yaml.safe_load(data.flip_labels.read_text()) == {
        "data": {"flip_labels": flip_labels(motions)}
    }
    table = json.loads(data.classes.read_text())
    assert [(row["label"], row["name"], row["pair"], row["mirror"]) for row in table] == [
        (each.label, each.name, each.pair, each.mirror) for each in motions
    ]


def test_the_product_reads_the_lists(tmp_path, quick):
    data = write(tmp_path)
    listing = read_listing(data.train_list)
    assert listing.labels == list(range(12))
    assert all((data.folder / path).is_file() for path in listing.paths)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> dict[str, bytes]:
    """What one worker writes."""
    folder = tmp_path_factory.mktemp("one")
    write(folder / "demo", seed=1)
    return contents(folder / "demo")


def test_bytes_do_not_depend_on_workers_or_on_the_number_of_clips(one, tmp_path):
    write(tmp_path / "two", seed=1, workers=2, clips=14)
    two = contents(tmp_path / "two")
    assert sum(name.startswith("videos/") for name in one) == 24
    assert set(two) - set(one) == {"videos/train_00012.webm", "videos/train_00013.webm"}
    assert {name for name in one if one[name] != two[name]} == {"train.txt"}


def test_another_seed_gives_other_clips(one, tmp_path):
    write(tmp_path / "two", seed=2)
    two = contents(tmp_path / "two")
    assert all(one[name] != two[name] for name in one if name.startswith("videos/"))


def test_an_interrupted_run_leaves_no_list_and_can_be_continued(tmp_path, quick, monkeypatch):
    whole = tmp_path / "whole"
    write(whole)
    written: list[str] = []

    def write_some(job):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(job.path.name)
        write_clip(job)

    write_clip = writer.write_clip
    monkeypatch.setattr(writer, "write_clip", write_some)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken")
    assert not list((tmp_path / "broken").glob("*.txt"))
    assert len(list((tmp_path / "broken/videos").iterdir())) == 5

    rest: list[str] = []
    monkeypatch.setattr(
        writer, "write_clip", lambda job: (rest.append(job.path.name), write_clip(job))
    )
    write(tmp_path / "broken")
    assert not set(written) & set(rest)
    assert contents(tmp_path / "broken") == contents(whole)


def test_a_file_that_cannot_be_finished_does_not_appear(tmp_path, quick, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(UserError, match="No space left"):
        write(tmp_path / "demo")
    assert not any((tmp_path / "demo").iterdir())


@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"codec": "mjpeg"}, {"classes": 16, "clips": 16}], ids=str
)
def test_a_folder_with_other_demo_data_is_refused_and_kept(tmp_path, quick, changes):
    write(tmp_path, validation_clips=16)
    before = contents(tmp_path)
    key = next(iter(changes))
    with pytest.raises(UserError, match=key):
        write(tmp_path, **{"validation_clips": 16} | changes)
    assert contents(tmp_path) == before


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path, quick):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        write(tmp_path)
    assert set(contents(tmp_path)) == {"thesis.txt"}


def test_a_damaged_note_is_a_user_error(tmp_path, quick):
    write(tmp_path)
    (tmp_path / writer.RECIPE).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        write(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/demo"):
        with pytest.raises(UserError, match="cannot write"):
            write(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 13},
        {"clips": 11},
        {"validation_clips": 0},
        {"classes": 16, "clips": 15, "validation_clips": 16},
        {"seed": -1},
        {"workers": 0},
        {"codec": "gif"},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_user_errors_and_write_nothing(tmp_path, changes):
    with pytest.raises(UserError) as caught:
        write(tmp_path / "demo", **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "demo").exists()


def test_the_command_writes_the_data_set(tmp_path, quick, capsys):
    from tdn.cli import main

    words = ["demo-data", str(tmp_path), "--clips", "24", "--validation-clips", "12"]
    assert main([*words, "--workers", "1"]) == 0
    assert str(tmp_path / "train.txt") in capsys.readouterr().out
    assert len((tmp_path / "train.txt").read_text().splitlines()) == 24


def test_the_command_tells_a_mistake_in_one_line(tmp_path, capsys):
    from tdn.cli import main

    assert main(["demo-data", str(tmp_path / "demo"), "--codec", "gif"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
