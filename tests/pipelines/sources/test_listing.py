from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.sources.listing import (
    is_storable,
    numbered,
    read_class_names,
)


def at(row: int) -> str:
    return f"row {row}"


def test_numbers_are_labels_and_names_are_numbered():
    assert numbered(["3", "0", "17.0"], at) == ([3, 0, 17], ())
    assert numbered(["b", "a", "b"], at) == ([1, 0, 1], ("a", "b"))
    assert numbered(["b", "a"], at, ("b", "c", "a")) == ([0, 2], ("b", "c", "a"))


def test_numbers_go_with_names_that_are_given():
    """A list of numbers, and a file that says what they mean."""
    assert numbered(["2", "0"], at, ("a", "b", "c")) == ([2, 0], ("a", "b", "c"))
    with pytest.raises(UserError, match="row 1"):
        numbered(["2", "3"], at, ("a", "b", "c"))


def test_class_names_may_be_numbers():
    assert numbered(["007", "3"], at, ("3", "007")) == ([1, 0], ("3", "007"))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["0", "-1"], ()),
        (["0", "0.5"], ()),
        (["0", "1000000000"], ()),
        (["0", "two"], ()),
        (["two", "0"], ()),
        (["a", "c"], ("a", "b")),
    ],
)
def test_what_is_no_label_is_named_with_its_row(names, classes):
    with pytest.raises(UserError, match=f"row 1: '{names[1]}'"):
        numbered(names, at, classes)


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1), st.lists(st.text(max_size=3)))
def test_labels_point_at_their_names(names, classes):
    try:
        labels, known = numbered(names, at, tuple(dict.fromkeys(classes)))
    except UserError:
        return
    assert all(0 <= label < len(known) for label in labels) or not known
    if known and not any(name.isdigit() for name in names):
        assert [known[label] for label in labels] == names


def test_class_names_are_a_line_each(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffbrush  hair\r\n\r\nclimb\r\nZähne putzen".encode())
    assert read_class_names(file) == ("brush hair", "climb", "Zähne putzen")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"a\nb\na\n", b"\xff\xfe"])
def test_a_file_of_names_that_cannot_be_is_named(tmp_path, content):
    file = tmp_path / "classes.txt"
    file.write_bytes(content)
    for path in (file, tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            read_class_names(path)


def test_paths_that_a_manifest_cannot_hold():
    assert is_storable("a b/ü,;{}.mp4")
    for path in ("a\nb", "a\rb", "a\0b", os.fsdecode(b"\xff.mp4")):
        assert not is_storable(path)
