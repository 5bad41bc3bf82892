from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.sources.shards import are_shards, read_shards
from tests.sources import add_to_tar


def write(path: Path, files: dict[str, bytes], **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files.items():
            add_to_tar(tar, name, content)
    return path


def rows_of(pattern, *options):
    """(shard, member, its files' contents, class name or label) of each row."""
    listing = read_shards(str(pattern), *options)
    rows = []
    for path, member, label in zip(listing.paths, listing.members, listing.labels, strict=True):
        whole = (listing.root / path).read_bytes()
        places = zip(member.offsets, member.sizes, strict=True)
        parts = [whole[offset : offset + size] for offset, size in places]
        name = listing.classes[label] if listing.classes else label
        rows.append((path, member.name, parts if member.pictures else parts[0], name))
    return rows


VIDEO = {"a.mp4": b"first", "a.cls": b"3", "b.webm": b"second", "b.cls": b"0\n"}


def test_videos_with_numbers(tmp_path):
    shard = write(tmp_path / "s.tar", VIDEO)
    assert rows_of(shard) == [("s.tar", "a.mp4", b"first", 3), ("s.tar", "b.webm", b"second", 0)]


def test_names_are_labels_by_their_order(tmp_path):
    shard = write(tmp_path / "s.tar", {**VIDEO, "a.cls": b" pull  up\n", "b.cls": b"climb"})
    assert [row[3] for row in rows_of(shard)] == ["pull up", "climb"]
    listing = read_shards(str(shard), ("pull up", "climb"))
    assert listing.labels == [0, 1]
    with pytest.raises(UserError, match=r"s\.tar: b\.webm"):
        read_shards(str(shard), ("pull up", "dive"))


def test_both_ways_of_naming_frames(tmp_path):
    files = {"k/x/10.jpg": b"ten", "k/x/9.jpg": b"nine", "k/x.cls": b"1"}
    files |= {"y.00002.PNG": b"two", "y.00001.PNG": b"one", "y.cls": b"0"}
    assert rows_of(write(tmp_path / "s.tar", files)) == [
        ("s.tar", "k/x", [b"nine", b"ten"], 1),
        ("s.tar", "y", [b"one", b"two"], 0),
    ]


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (["1.jpg", "3.jpg"], "lacks 2.jpg"),
        (["a_1.jpg", "b_1.jpg"], "several"),
        (["x.jpg"], "number"),
    ],
)
def test_frames_that_are_no_clip_are_a_row_with_a_problem(tmp_path, frames, problem):
    files = {f"k/{name}": b"x" for name in frames} | {"k.cls": b"1"} | VIDEO
    bad, *good = read_shards(str(write(tmp_path / "s.tar", files))).members
    assert problem in bad.problem
    assert [member.problem for member in good] == ["", ""]


def test_frames_are_told_from_other_pictures(tmp_path):
    files = {
        f"k/{head}{number}.jpg": head.encode() for head in ("flow_x_", "img_") for number in (1, 2)
    }
    files |= {"k.cls": b"1", "a.jpg": b"thumbnail", "b.jpg": b"thumbnail"} | VIDEO
    shard = write(tmp_path / "s.tar", files)
    assert [row[2] for row in rows_of(shard)] == [[b"img_"] * 2, b"first", b"second"]
    assert rows_of(shard, (), "flow_x_{}.jpg")[0][2] == [b"flow_x_"] * 2


def test_labels_in_json(tmp_path):
    values = [{"label": 2}, {"class": 1.0, "x": [1]}, {"label": None, "cls": "0"}]
    files = {}
    for number, value in enumerate(values):
        files |= {f"{number}.mp4": b"v", f"{number}.json": json.dumps(value).encode()}
    files |= {"3.json": b'{"label": 7}', "3.mp4": b"v", "3.cls": b"4"}
    files |= {"4.cls": b"5", "4.mp4": b"v", "4.json": b'{"label": 7}'}
    assert [row[3] for row in rows_of(write(tmp_path / "s.tar", files))] == [2, 1, 0, 4, 5]


@pytest.mark.parametrize(
    "label",
    [
        {},
        {"k.cls": b" \n"},
        {"k.cls": b"\xff\xfe"},
        {"k.cls": b"-1"},
        {"k.json": b"{"},
        {"k.json": b'{"label": true}'},
        {"k.json": b'{"caption": "x"}'},
        {"k.json": b"[" * 100_000},
        {"other.cls": b"1"},
    ],
)
@pytest.mark.parametrize("name", ["k.mp4", "k/1.jpg", "k.1.jpg"])
def test_a_sample_without_a_label_is_named(tmp_path, name, label):
    shard = write(tmp_path / "s.tar", {name: b"v", **label})
    with pytest.raises(UserError, match=r"s\.tar: k") as error:
        read_shards(str(shard))
    assert "\n" not in str(error.value)


def test_what_is_of_no_use_is_passed_over(tmp_path):
    files = {"readme.txt": b"x", "a.txt": b"x", "a.npy": b"x", "a.wav": b"x", "lone.cls": b"1"}
    files |= {"._a.mp4": b"x", "__MACOSX/._a.mp4": b"x", ".hidden.mp4": b"x"} | VIDEO
    assert [row[1] for row in rows_of(write(tmp_path / "s.tar", files))] == ["a.mp4", "b.webm"]


def test_names_with_a_dot_slash_before_them(tmp_path):
    files = {f"./{name}": content for name, content in VIDEO.items()}
    assert [row[1] for row in rows_of(write(tmp_path / "s.tar", files))] == ["a.mp4", "b.webm"]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names(tmp_path, format):
    long = "folder/" * 30 + "ü" * 60
    files = {f"{long}.mp4": b"first", f"{long}.cls": b"2", "b.mp4": b"second", "b.cls": b"1"}
    shard = write(tmp_path / "s.tar", files, format=format)
    assert [row[1:] for row in rows_of(shard)] == [
        (f"{long}.mp4", b"first", 2),
        ("b.mp4", b"second", 1),
    ]


def test_names_in_another_encoding(tmp_path):
    files = {os.fsdecode(b"\xe4.mp4"): b"first", os.fsdecode(b"\xe4.cls"): b"2"}
    ((_, name, content, label),) = rows_of(write(tmp_path / "s.tar", files))
    assert (content, label) == (b"first", 2)
    name.encode()


def test_several_shards_in_order(tmp_path):
    for number in (0, 1, 2, 10):
        files = {f"v{number}.mp4": b"%d" % number, f"v{number}.cls": b"1"}
        write(tmp_path / f"part{number // 2}" / f"s-{number:02d}.tar", files)

    def contents(pattern):
        return [row[2] for row in rows_of(tmp_path / pattern)]

    assert contents("part*/s-*.tar") == [b"0", b"1", b"2", b"10"]
    assert contents("part0/s-{00..01}.tar") == [b"0", b"1"]
    assert contents("part{0..0}/s-0?.tar") == [b"0", b"1"]
    listing = read_shards(str(tmp_path / "part{0..1}/s-*.tar"))
    assert listing.root == tmp_path
    assert listing.paths == ["part0/s-00.tar", "part0/s-01.tar", "part1/s-02.tar"]


def test_braces_are_all_combinations(tmp_path):
    for name in ("0/0.tar", "0/1.tar", "1/0.tar", "1/1.tar"):
        write(tmp_path / name, VIDEO)
    listing = read_shards(str(tmp_path / "{0..1}/{0..1}.tar"))
    assert listing.paths[::2] == ["0/0.tar", "0/1.tar", "1/0.tar", "1/1.tar"]


def test_relative_patterns_and_names_that_look_like_patterns(tmp_path, monkeypatch):
    write(tmp_path / "data" / "[x].tar", VIDEO)
    write(tmp_path / "data" / "x.tar", {"c.mp4": b"third", "c.cls": b"1"})
    monkeypatch.chdir(tmp_path)
    assert [row[2] for row in rows_of("data/[x].tar")] == [b"first", b"second"]
    for pattern in ("data/*.tar", "*/*.tar", "./data/../data/*.tar"):
        assert [row[2] for row in rows_of(pattern)] == [b"first", b"second", b"third"]
    monkeypatch.chdir(tmp_path / "data")
    assert [row[2] for row in rows_of("[w-z].tar")] == [b"third"]


@pytest.mark.parametrize("pattern", ["none.tar", "none-*.tar", "s-{0..2}.tar", "s-{2..0}.tar"])
def test_missing_shards_are_named(tmp_path, pattern):
    for number in (0, 1):
        write(tmp_path / f"s-{number}.tar", VIDEO)
    with pytest.raises(UserError, match=r"s-2\.tar|none|counts down"):
        read_shards(str(tmp_path / pattern))


def test_what_is_named_as_shards():
    assert all(map(are_shards, ["a.tar", "x/*.TAR", "a.tar.gz", "a.tgz", "a-{0..3}.tar"]))
    assert not any(map(are_shards, ["a.txt", "tar", "a.tar/list.txt", "a.tar.txt"]))


def test_a_compressed_shard_is_named(tmp_path):
    shard = write(tmp_path / "s.tar", VIDEO)
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(shard.read_bytes()))
    (tmp_path / "z.tar").write_bytes(gzip.compress(shard.read_bytes()))
    for name in ("s.tar.gz", "z.tar"):
        with pytest.raises(UserError, match=f"{name}.*uncompressed"):
            read_shards(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", b"x" * 2000, b"\0" * 1024, b"\0" * 10240])
def test_what_holds_no_videos_is_named(tmp_path, content):
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"s\.tar") as error:
        read_shards(str(tmp_path / "s.tar"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("extra", [{"a.avi": b"x"}, {"./a.mp4": b"x"}, {"a.1.mkv": b"x"}])
def test_two_videos_of_one_key_are_named(tmp_path, extra):
    with pytest.raises(UserError, match=r"s\.tar.* a"):
        read_shards(str(write(tmp_path / "s.tar", VIDEO | extra)))


def test_a_picture_that_is_there_twice_is_named(tmp_path):
    shard = write(tmp_path / "s.tar", {"k/1.jpg": b"one", "k.cls": b"1"})
    with tarfile.open(shard, "a") as tar:
        add_to_tar(tar, "k/1.jpg", b"other")
    with pytest.raises(UserError, match=r"s\.tar: holds k/1\.jpg twice"):
        read_shards(str(shard))


def test_a_video_that_is_stored_with_holes_is_named(tmp_path):
    with (tmp_path / "a.mp4").open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"start")
    (tmp_path / "a.cls").write_text("1")
    for form in ("gnu", "posix"):
        command = ["tar", "--sparse", f"--format={form}", "-cf", "s.tar", "a.mp4", "a.cls"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert (tmp_path / "s.tar").stat().st_size < 1 << 19
        with pytest.raises(UserError, match=r"a\.mp4.*--sparse"):
            read_shards(str(tmp_path / "s.tar"))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE])
def test_a_video_that_is_not_stored_is_named(tmp_path, kind):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, content in VIDEO.items():
            add_to_tar(tar, name, content)
        info = tarfile.TarInfo("c.mp4")
        info.type, info.linkname = kind, "a.mp4"
        tar.addfile(info)
        add_to_tar(tar, "c.cls", b"1")
    with pytest.raises(UserError, match=r"c\.mp4"):
        read_shards(str(tmp_path / "s.tar"))


def test_an_empty_video_is_a_row(tmp_path):
    """Which probing finds unusable; its shard is not."""
    shard = write(tmp_path / "s.tar", {**VIDEO, "a.mp4": b""})
    assert [row[2] for row in rows_of(shard)] == [b"", b"second"]


def test_wherever_a_shard_is_cut_off_it_is_noticed(tmp_path):
    """Also between two samples, where tar files have no other sign than their end."""
    whole = write(tmp_path / "s.tar", {**VIDEO, "a.mp4": b"v" * 1200}).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for size in [*range(0, end, 128), end]:
        (tmp_path / "s.tar").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"s\.tar"):
            read_shards(str(tmp_path / "s.tar"))
    (tmp_path / "s.tar").write_bytes(whole[: end + 512])
    assert len(rows_of(tmp_path / "s.tar")) == 2


def packed() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in {**VIDEO, "ü.cls": b"1", "x/1.jpg": b"p", "x.json": b"{}"}.items():
            add_to_tar(tar, name, content)
    return file.getvalue()


WHOLE = packed()
changes = st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))


@given(st.lists(changes, max_size=12), st.integers(0, len(WHOLE)))
def test_damaged_shards_are_read_or_refused_in_one_line(tmp_path_factory, changed, size):
    data = bytearray(WHOLE)
    for place, value in changed:
        data[place] = value
    shard = tmp_path_factory.mktemp("fuzz") / "s.tar"
    shard.write_bytes(data[:size] if size % 3 else data)
    members, message = [], ""
    try:
        members = read_shards(str(shard)).members
    except UserError as error:
        message = str(error)
    assert bool(members) != bool(message)
    assert "\n" not in message
    assert all(member.name.encode() and min(member.offsets) >= 0 for member in members)
