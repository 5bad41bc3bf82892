from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.videos.container_sizes import is_cut_off
from tests.corpus import encode

FILES = {"a.mp4": {"movflags": "faststart"}, "b.mp4": {}, "c.mov": {}, "d.avi": {}, "e.mkv": {}}
FILES |= {"f.mp4": {"movflags": "frag_keyframe+empty_moov"}, "g.webm": {}}


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("containers")
    codecs = {"d.avi": "mjpeg", "g.webm": "vp8"}
    settings = {"pictures": 6, "size": (48, 64)}
    return {
        name: encode(folder / name, codecs.get(name, "h264"), mux=mux, **settings).read_bytes()
        for name, mux in FILES.items()
    }


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_whole_and_cut_ones_are_cut(contents, name):
    data = contents[name]
    file = io.BytesIO(data)
    assert not is_cut_off(file)
    assert file.tell() == 0
    for end in (len(data) - 1, len(data) * 2 // 3, len(data) // 2):
        assert is_cut_off(io.BytesIO(data[:end]))


def test_containers_that_do_not_say_are_not_cut_off(tmp_path):
    stream = encode(tmp_path / "a.ts", "h264", 6, size=(48, 64)).read_bytes()
    live = encode(tmp_path / "a.webm", "vp8", 6, size=(48, 64), mux={"live": "1"}).read_bytes()
    for data in (stream, live):
        assert not is_cut_off(io.BytesIO(data[: len(data) * 2 // 3]))


def test_more_behind_the_end_is_no_cut(contents):
    assert not is_cut_off(io.BytesIO(contents["e.mkv"] + b"more"))
    assert not is_cut_off(io.BytesIO(contents["d.avi"] + b"more"))


def test_large_boxes_and_boxes_to_the_end():
    large = b"\0\0\0\x01mdat" + (24).to_bytes(8, "big") + b"12345678"
    rest = b"\0\0\0\0mdat" + b"whatever"
    head = b"\0\0\0\x0cftypisom"
    assert not is_cut_off(io.BytesIO(head + large))
    assert is_cut_off(io.BytesIO(head + large[:-1]))
    assert not is_cut_off(io.BytesIO(head + rest))


HEADS = st.sampled_from([b"", b"RIFF", b"\x1aE\xdf\xa3", b"\0\0\0\x10ftyp", b"\0\0\0\x01mdat"])


@given(HEADS, st.binary(max_size=60))
def test_any_bytes_are_answered(head, rest):
    assert is_cut_off(io.BytesIO(head + rest)) in (True, False)
