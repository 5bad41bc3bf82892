from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.transcoding.naming import copy_names

PART = st.text(st.sampled_from("ab.\n é_ "), min_size=1, max_size=4)
PATHS = st.lists(PART, min_size=1, max_size=3).map("/".join)


def test_names_are_the_paths_without_ending():
    paths = ["a/x.mp4", "b/x.mp4", "c d/y z.webm", "frames/00012", "-3B32lodo2M_000059.mp4"]
    expected = ["a/x", "b/x", "c d/y z", "frames/00012", "-3B32lodo2M_000059"]
    assert copy_names(paths) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["x.mp4", "x.webm", "x_webm.avi"], ["x", "x_webm", "x_webm_avi"]),
        (["a.mp4", "a/b.mp4"], ["a", "a__b_mp4"]),
        (["a/b.mp4", "a.mp4"], ["a/b", "a_mp4"]),
        (["x.mp4", "x.mp4", "x.mp4"], ["x", "x_mp4", "x_mp4_2"]),
        (["/data/a.mp4", "../data/a.mp4"], ["data/a", "data/a_mp4"]),
        (["v.1.mp4", "line\nbreak.mp4", ".hidden", ".."], ["v_1", "line_break", "_hidden", "clip"]),
    ],
)
def test_collisions_and_oddities(paths, expected):
    assert copy_names(paths) == expected


def test_long_names_fit_file_systems():
    names = copy_names([f"{'é' * 200}{n}.mp4" for n in range(3)])
    assert len(set(names)) == 3
    assert all(len(name.encode()) < 250 for name in names)


@given(st.lists(PATHS, max_size=12))
def test_every_name_is_usable_and_given_once(paths):
    names = copy_names(paths)
    assert len(set(names)) == len(paths)
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    for name in names:
        assert "." not in name
        assert "\n" not in name
        assert name == str(PurePosixPath(name))
        assert not name.startswith("/")
        assert all(part == part.strip() for part in name.split("/"))
        assert name not in folders
