from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.own_videos.folder import Changes, changes, look_into
from tests.videos import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", 3, codec="mpeg4", size=(32, 48))


@pytest.fixture
def fill(tmp_path, video):
    """Makes files in a folder: videos, and what only has the name of one."""

    def make(*paths: str) -> Path:
        root = tmp_path / "videos"
        root.mkdir(exist_ok=True)
        for number, path in enumerate(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".mp4"):
                # What follows the last box of an mp4 file is no part of it.
                (root / path).write_bytes(video.read_bytes() + number.to_bytes(4, "big"))
            else:
                (root / path).write_text("no video")
        return root

    return make


def paths(folder, side: str = "") -> dict[str, str]:
    return {video.path: video.name for video in folder.sides[side]}


def test_folders_are_classes_at_any_depth(fill):
    root = fill("walk/a.mp4", "walk/day 1/b.mp4", "run/c.mp4", "run/.hidden.mp4", "run/cover.jpg")
    (root / ".empty").mkdir()
    folder = look_into(root)
    assert folder.classes == ("run", "walk")
    assert paths(folder) == {"walk/a.mp4": "walk", "walk/day 1/b.mp4": "walk", "run/c.mp4": "run"}
    assert folder.notes == []


def test_equal_files_and_links_have_equal_content(fill):
    root = fill("walk/a.mp4", "walk/b.mp4", "run/c.mp4")
    shutil.copy(root / "walk/a.mp4", root / "run/copy.mp4")
    (root / "run/link.mp4").symlink_to(root / "walk/a.mp4")
    content = {video.path: video.content for video in look_into(root).sides[""]}
    assert content["walk/a.mp4"] == content["run/copy.mp4"] == content["run/link.mp4"]
    assert len(set(content.values())) == 3


def test_what_is_unusable_is_counted_and_what_is_of_no_class(fill):
    root = fill("walk/a.mp4", "walk/notes.txt", "run/c.mp4", "stray.mp4", "stray 2.mp4")
    (root / "run ").mkdir()
    folder = look_into(root)
    assert paths(folder) == {"walk/a.mp4": "walk", "run/c.mp4": "run"}
    told = "\n".join(folder.notes)
    assert "left out: 1 of 3" in told
    assert "one class, 'run', as their names differ in spaces alone: 'run', 'run '" in told
    assert "'stray.mp4'" in told
    assert "'stray 2.mp4'" in told


@pytest.mark.parametrize("other", ["validation", "Val", "test"])
def test_sides_that_are_there_are_kept(fill, other):
    root = fill("train/walk/a.mp4", "train/run/b.mp4", f"{other}/walk/c.mp4", "notes/x.txt")
    folder = look_into(root)
    assert folder.classes == ("run", "walk")
    assert paths(folder, "train") == {"train/walk/a.mp4": "walk", "train/run/b.mp4": "run"}
    assert paths(folder, "validation") == {f"{other}/walk/c.mp4": "walk"}
    told = "\n".join(folder.notes)
    assert f"{other} to validate" in told
    assert "no validation videos of class 'run'" in told
    assert "notes" in told


def test_of_validation_and_test_the_first_validates(fill):
    names = [f"{side}/{c}/{side}.mp4" for side in ("train", "val", "test") for c in "ab"]
    folder = look_into(fill(*names))
    assert set(paths(folder, "validation")) == {"val/a/val.mp4", "val/b/val.mp4"}
    assert any("not used" in note and "test" in note for note in folder.notes)


def test_train_and_test_can_be_classes(fill):
    folder = look_into(fill("train/a.mp4", "test/b.mp4"))
    assert folder.classes == ("test", "train")
    assert set(folder.sides) == {""}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "no class folders"),
        (["a.mp4", "b.mp4"], "holds 2 videos but no class folders"),
        (["walk/a.mp4", "walk/b.mp4"], "one class, 'walk'"),
        (["all/walk/a.mp4", "all/run/b.mp4"], "give --data.root .*/videos/all"),
        (["walk/a.mp4", "run/b.txt"], "no usable video in class 'run'"),
        (["a/a.mp4", "b/b.mp4", "c/d/cover.jpg"], "no usable video in class 'c'"),
        (["train/a/a.mp4", "train/c/.a", "val/a/b.mp4"], "no usable video in class 'c'"),
        (["train/a/a.mp4", "train/c/a.mp4", "val/a/b.mp4", "val/b/c.mp4"], "no usable training"),
    ],
)
def test_what_cannot_be_trained_on_is_told_in_a_line(fill, files, says):
    with pytest.raises(UserError, match=says) as told:
        look_into(fill(*files))
    assert "\n" not in str(told.value)


def test_a_path_that_is_no_folder(tmp_path, video):
    with pytest.raises(UserError, match="no such folder"):
        look_into(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a file"):
        look_into(video)


def test_changes_are_noticed(fill, video):
    root = fill("walk/a.mp4", "walk/b.mp4", "run/c.mp4", "run/no.txt")
    manifest = look_into(root).manifest
    assert not any(changes(root, manifest))
    (root / "walk/a.mp4").unlink()
    shutil.copy(video, root / "walk/new.mp4")
    shutil.copy(video, root / "walk/newer.mp4")
    os.utime(root / "run/c.mp4")
    assert changes(root, manifest) == Changes(new=2, gone=1, changed=1)
    assert str(Changes(2, 0, 1)) == "2 files are new, 1 changed"
