from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.sources.class_folders import read_class_folders
from tests.permissions import bound_by_permissions


def make(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def rows_of(root, classes=()):
    listing = read_class_folders(root, classes)
    assert listing.root == root
    assert listing.lines == list(range(1, len(listing.paths) + 1))
    return list(zip(listing.paths, listing.labels, strict=True)), listing.classes


def test_videos_and_folders_of_frames_of_each_class(tmp_path):
    files = ["dive/b.mp4", "dive/a.webm", "climb/v1/00002.jpg", "climb/v1/00001.jpg"]
    files += ["climb/v2/img_1.PNG", "climb/v2/notes.txt"]
    rows, classes = rows_of(make(tmp_path, *files))
    assert rows == [("climb/v1", 0), ("climb/v2", 0), ("dive/a.webm", 1), ("dive/b.mp4", 1)]
    assert classes == ("climb", "dive")


def test_clips_may_lie_deeper(tmp_path):
    files = ["climb/2020/a.mp4", "climb/2021/may/b.mp4", "climb/2021/may/c/7.jpg"]
    rows, _ = rows_of(make(tmp_path, *files))
    assert [path for path, _ in rows] == [*files[:2], "climb/2021/may/c"]


def test_hidden_and_stray_files_do_not_count(tmp_path):
    files = ["climb/a.mp4", "climb/.DS_Store", "climb/.cache/b.mp4", ".git/x/c.mp4", "readme.txt"]
    files += ["climb/cover.jpg", "climb/group/b.mp4", "climb/group/poster.jpg", "climb/.00001.jpg"]
    rows, classes = rows_of(make(tmp_path, *files))
    assert [path for path, _ in rows] == ["climb/a.mp4", "climb/group/b.mp4"]
    assert classes == ("climb",)


def test_an_empty_class_keeps_its_label(tmp_path):
    """So that a validation folder without one of the classes agrees with the training one."""
    make(tmp_path, "brush/a.mp4", "dive/b.mp4")
    (tmp_path / "climb").mkdir()
    rows, classes = rows_of(tmp_path)
    assert rows == [("brush/a.mp4", 0), ("dive/b.mp4", 2)]
    assert classes == ("brush", "climb", "dive")


def test_given_names_decide_the_labels(tmp_path):
    make(tmp_path, "brush/a.mp4", "dive/b.mp4")
    (tmp_path / "empty").mkdir()
    rows, classes = rows_of(tmp_path, ("dive", "swim", "brush"))
    assert rows == [("brush/a.mp4", 2), ("dive/b.mp4", 0)]
    assert classes == ("dive", "swim", "brush")
    with pytest.raises(UserError, match="brush/a"):
        rows_of(tmp_path, ("dive", "swim"))


def test_numbered_folders_are_names_and_with_given_names_labels(tmp_path):
    make(tmp_path, "10/a.mp4", "2/b.mp4")
    assert rows_of(tmp_path)[0] == [("10/a.mp4", 0), ("2/b.mp4", 1)]
    names = tuple("abcdefghijk")
    assert rows_of(tmp_path, names)[0] == [("10/a.mp4", 10), ("2/b.mp4", 2)]


def test_links_are_followed(tmp_path):
    make(tmp_path / "store", "a.mp4", "frames/1.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "climb").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "gone.mp4").symlink_to("nowhere")
    rows, _ = rows_of(tmp_path / "set")
    assert [path for path, _ in rows] == ["climb/a.mp4", "climb/frames", "climb/gone.mp4"]


@pytest.mark.parametrize(
    ("target", "told"), [("..", "links"), (".", "links"), ("../..", "links"), ("loop", "read")]
)
def test_a_link_that_leads_back_is_named(tmp_path, target, told):
    root = make(tmp_path / "root", "climb/deep/a.mp4", "dive/deep/a.mp4")
    for folder in ("climb", "dive"):  # two of them would double the clips at every depth
        (root / folder / "deep" / "loop").symlink_to(target)
    with pytest.raises(UserError, match=f"climb/deep/loop: .*{told}"):
        read_class_folders(root)


@pytest.mark.parametrize("files", [[], ["a.mp4"], ["v1/00001.jpg", "v2/00001.jpg"], ["a/b/c.jpg"]])
def test_what_is_no_class_folder_is_named(tmp_path, files):
    with pytest.raises(UserError, match=str(tmp_path)) as error:
        read_class_folders(make(tmp_path, *files))
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_read_is_named(public_folder):
    root = make(public_folder, "climb/a.mp4", "dive/b.mp4")
    (root / "dive").chmod(0)
    with bound_by_permissions(), pytest.raises(UserError, match=r"dive: cannot be read"):
        read_class_folders(root)


@pytest.mark.parametrize("name", [b"\xe4.mp4", b"a\nb.mp4"])
def test_a_name_that_cannot_be_stored_is_told_in_one_line(tmp_path, name):
    make(tmp_path, os.fsdecode(b"climb/" + name))
    with pytest.raises(UserError) as error:
        read_class_folders(tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).isascii()


names = st.text(st.sampled_from("ab1."), min_size=1, max_size=3).filter(lambda n: n.strip("."))
trees = st.lists(st.lists(names, min_size=1, max_size=4), min_size=1, max_size=12)


@given(trees)
def test_every_file_is_one_clip_of_its_class(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    for parts in tree:
        path = root.joinpath(*parts)
        if not any(part.is_file() for part in (path, *path.parents)) and not path.exists():
            make(root, "/".join(parts))
    visible = {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    }
    expected = {path for path in visible if "/" in path}
    try:
        listing = read_class_folders(root)
    except UserError:
        assert not expected
        return
    assert sorted(listing.paths) == sorted(expected)
    for path, label in zip(listing.paths, listing.labels, strict=True):
        assert listing.classes[label] == Path(path).parts[0]
