from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.sources.text_lists import read_text_list


def write(folder, text: str):
    path = folder / "list.txt"
    path.write_text(text)
    return path


def test_both_formats_and_spaces_in_paths(tmp_path):
    entries = read_text_list(write(tmp_path, "a.webm 3\n\nfolder/b c.mp4 7\nframes/17 40 12\n"))
    assert entries.paths == ["a.webm", "folder/b c.mp4", "frames/17"]
    assert entries.labels == [3, 7, 12]
    assert entries.lines == [1, 3, 4]


@pytest.mark.parametrize(
    "line", ["a.webm", "7", "a.webm -1", "a.webm x", "a.webm 1.5", "a.webm 99999999999", "a\0b 1"]
)
def test_a_malformed_line_is_named(tmp_path, line):
    path = write(tmp_path, f"good.webm 1\n{line}\n")
    with pytest.raises(UserError) as error:
        read_text_list(path)
    assert f"{path}:2" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00\x01"])
def test_empty_and_binary_files_are_refused(tmp_path, content):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"list\.txt"):
        read_text_list(path)


def test_a_byte_order_mark_is_no_part_of_a_path(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.webm 1\r\n")
    assert read_text_list(path).paths == ["a.webm"]


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            read_text_list(path)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "list.txt"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    entries, message = None, ""
    try:
        entries = read_text_list(path)
    except UserError as error:
        message = str(error)
    assert bool(entries) != bool(message)
    assert len(message.splitlines()) <= 1
    if entries:
        assert all(path.strip() == path for path in entries.paths)
        assert len(entries.paths) == len(entries.labels) == len(entries.lines) > 0
        assert min(entries.labels) >= 0


names = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(names, st.integers(0, 999), st.booleans()), min_size=1, max_size=20))
def test_written_lists_are_read_back(tmp_path_factory, rows):
    lines = [
        f"{name} 40 {label}" if counted else f"{name} {label}" for name, label, counted in rows
    ]
    path = tmp_path_factory.mktemp("fuzz") / "list.txt"
    path.write_text("\n".join(lines))
    listing = read_text_list(path)
    assert listing.paths == [name for name, _, _ in rows]
    assert listing.labels == [label for _, label, _ in rows]


def test_labels_beyond_the_given_names_are_named(tmp_path):
    path = write(tmp_path, "a.webm 1\nb.webm 2\n")
    listing = read_text_list(path, ("brush", "climb", "dive"))
    assert listing.labels == [1, 2]
    assert listing.classes == ("brush", "climb", "dive")
    with pytest.raises(UserError, match=r"list\.txt:2"):
        read_text_list(path, ("brush", "climb"))
