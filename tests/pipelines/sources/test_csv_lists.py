from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.sources.csv_lists import is_csv, read_csv_list
from tdn.pipelines.sources.reading import read_listing


def write(folder, content: str | bytes, name: str = "list.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(listing):
    return list(zip(listing.paths, listing.labels, listing.lines, strict=True))


EXPECTED = [("a b.mp4", 3, 2), ("c/d.webm", 0, 3)]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na b.mp4,3\nc/d.webm,0\n",
        "label;video\r\n3;a b.mp4\r\n0;c/d.webm\r\n",
        "path\tlabel\na b.mp4\t3\nc/d.webm\t0",
        '"Path","Label"\n"a b.mp4","3"\n"c/d.webm","0"\n',
        " id , video_path , target , \n7, a b.mp4 , 3 ,\n8,c/d.webm,0,\n",
        "filename,class_id,split\na b.mp4,3.0,train\nc/d.webm,0.0,\n",
        "\ufeffpath,label\ra b.mp4,3\rc/d.webm,0\r",
    ],
)
def test_dialects(tmp_path, text):
    listing = read_csv_list(write(tmp_path, text))
    assert rows_of(listing) == EXPECTED
    assert listing.classes == ()
    assert listing.root == tmp_path


def test_blank_lines_are_passed_over_and_lines_are_those_of_the_file(tmp_path):
    listing = read_csv_list(write(tmp_path, "\npath,label\n\na.mp4,1\n , \nb.mp4,2\n"))
    assert rows_of(listing) == [("a.mp4", 1, 4), ("b.mp4", 2, 6)]


def test_quotes_keep_separators_and_quotes(tmp_path):
    listing = read_csv_list(write(tmp_path, 'path,label\n"a, ""b"".mp4",1\n'))
    assert listing.paths == ['a, "b".mp4']


def test_of_several_columns_the_first_known_name_counts(tmp_path):
    text = "class_name,class,label,file,path\nb,x,1,other.mp4,a.mp4\n"
    assert rows_of(read_csv_list(write(tmp_path, text))) == [("a.mp4", 1, 2)]


def test_names_are_numbered_in_their_order(tmp_path):
    path = write(tmp_path, "path,class\na,pull up\nb,brush  hair\nc,pull up\n")
    listing = read_csv_list(path)
    assert listing.classes == ("brush hair", "pull up")
    assert listing.labels == [1, 0, 1]
    given = read_csv_list(path, ("pull up", "climb", "brush hair"))
    assert given.labels == [0, 2, 0]
    assert given.classes == ("pull up", "climb", "brush hair")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "list.csv"),
        ("\n\n", "list.csv"),
        ("path,label\n", "no rows"),
        ("a.mp4,3\nb.mp4,4\n", "header"),
        ("label\n3\n", "'path'"),
        ("path;split\na;b\n", "'label'"),
        ("path,label,label\na,1,2\n", "two columns 'label'"),
        ("path,label\na.mp4\n", "csv:2"),
        ("path,label\na.mp4,1\n,2\n", "csv:3"),
        ("path,label\na.mp4,\n", "no label"),
        ("path,label\na, b.mp4,1\n", "quotes"),
        ('path,label\n"a.mp4,1\nb.mp4,2\n', "quotes"),
        ('path,label\n"a\nb.mp4",1\n', "csv:3"),
        ("path,label\na\0b.mp4,1\n", "csv:2"),
        ("path,label\na.mp4,1\nb.mp4,-1\n", "csv:3"),
        ("path,label\na.mp4,1.5\n", "csv:2"),
        ("path,label\na.mp4,1e3\n", "csv:2"),
        ("path,label\na.mp4,12345678901\n", "csv:2"),
        ("path,label\na.mp4,1\nb.mp4,brush\n", "csv:3"),
        ("path,label\na.mp4,brush\nb.mp4,1\n", "csv:3"),
        (b"path,label\n\xe4.mp4,1\n", "UTF-8"),
        ("path,label\na.mp4,1\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, text, told):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        read_csv_list(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a b.mp4 3\nc/d.webm 0\n", [("a b.mp4", 3, 1), ("c/d.webm", 0, 2)]),
        ("a.mp4\t3\n", [("a.mp4", 3, 1)]),
        ("\nframes/1 40 3\n", [("frames/1", 3, 2)]),
        ("a,b.mp4 3\n", [("a,b.mp4", 3, 1)]),
    ],
)
def test_lists_of_lines_are_also_called_csv(tmp_path, text, rows):
    """Other projects' lists: "path label" without a header."""
    assert rows_of(read_listing(write(tmp_path, text))) == rows


def test_what_only_looks_like_lines_is_csv(tmp_path):
    assert is_csv(write(tmp_path, "a.mp4, 3\n"))
    assert is_csv(write(tmp_path, "path,label\n", "list.TSV"))
    assert not is_csv(write(tmp_path, "path,label\n", "list.txt"))


cells = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(' ,;"'),
    min_size=1,
    max_size=12,
).filter(lambda cell: cell == " ".join(cell.split()) and cell)
labels = st.lists(st.integers(0, 999_999_999).map(str), min_size=1, max_size=8)
names = st.lists(cells.filter(lambda cell: not cell[0].isdigit() and cell[0] not in "+-."))


@given(st.data(), st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory, data, mark, end, quoted):
    given = data.draw(labels | names.filter(bool))
    paths = [data.draw(cells) for _ in given]
    file = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=mark, lineterminator=end, quoting=quoting)
    rows = zip([""] * len(given), paths, given, strict=True)
    writer.writerows([("x", "path", "label"), *rows])
    path = write(tmp_path_factory.mktemp("fuzz"), file.getvalue())
    listing = read_csv_list(path)
    assert listing.paths == paths
    if listing.classes:
        assert list(listing.classes) == sorted(set(given))
        assert [listing.classes[label] for label in listing.labels] == given
    else:
        assert listing.labels == [int(label) for label in given]


@given(st.text(max_size=200) | st.text(st.sampled_from('pathlbe,;"\n\t 01-.'), max_size=80))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "list.csv"
    path.write_text("path,label\n" + text, encoding="utf-8", errors="surrogatepass")
    listing, message = None, ""
    try:
        listing = read_csv_list(path)
    except UserError as error:
        message = str(error)
    assert bool(listing) != bool(message)
    assert "\n" not in message
    if listing:
        assert len(listing.paths) == len(listing.labels) == len(listing.lines) > 0
        assert all(path.encode() and "\n" not in path for path in listing.paths)
