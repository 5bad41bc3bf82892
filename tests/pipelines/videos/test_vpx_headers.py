from __future__ import annotations

from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.videos.vpx_headers import HeaderError, Vp8Headers, Vp9Headers
from tests.corpus import DATA, OPTIONS, encode, join

HEADERS = {"vp8": Vp8Headers, "vp9": Vp9Headers}


def shown(path: Path, codec: str) -> list[list[tuple[int, int]]]:
    headers = HEADERS[codec]()
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [headers.shown(memoryview(packet)) for packet in packets]


def test_a_hidden_frame_of_vp8_is_a_packet_of_its_own():
    sizes = shown(DATA / "vp8_alt_ref.webm", "vp8")
    assert len(sizes) == 41
    assert sizes.count([]) == 1
    assert all(size in ([], [(176, 144)]) for size in sizes)


def test_a_hidden_frame_of_vp9_shares_a_packet():
    assert shown(DATA / "vp9_alt_ref.webm", "vp9") == [[(176, 144)]] * 40
    with av.open(str(DATA / "vp9_alt_ref.webm")) as container:
        packets = [memoryview(packet) for packet in container.demux(video=0) if packet.size]
        assert any(packet[-1] & 0xE0 == 0xC0 for packet in packets)


@pytest.mark.parametrize("codec", HEADERS)
@pytest.mark.parametrize("size", [(2, 2), (75, 101), (144, 192)])
def test_sizes_are_those_of_every_frame(tmp_path, codec, size):
    path = encode(tmp_path / "a.webm", codec, 12, size=size)
    assert shown(path, codec) == [[(size[1], size[0])]] * 12


@pytest.mark.parametrize("codec", HEADERS)
def test_a_new_size_is_seen_where_it_begins(tmp_path, codec):
    parts = [encode(tmp_path / f"{n}.webm", codec, 5, size=(48 * n, 64 * n)) for n in (1, 2)]
    sizes = shown(join(tmp_path / "joined.webm", parts), codec)
    assert sizes == [[(64, 48)]] * 5 + [[(128, 96)]] * 5


def test_other_profiles_of_vp9(tmp_path):
    options = OPTIONS["vp9"] | {"profile": "1"}
    path = encode(tmp_path / "a.webm", "vp9", 5, size=(48, 64), pixels="yuv444p", options=options)
    assert shown(path, "vp9") == [[(64, 48)]] * 5


@given(st.sampled_from(sorted(HEADERS)), st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_any_packets_are_answered_or_refused(codec, packets):
    headers = HEADERS[codec]()
    for packet in packets:
        try:
            sizes = headers.shown(memoryview(packet))
        except HeaderError:
            continue
        assert len(sizes) <= 8
