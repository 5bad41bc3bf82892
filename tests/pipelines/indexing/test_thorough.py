"""``tdn index --decode``: damage is found before training."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from tdn.cli import main
from tdn.pipelines.indexing.run import index_list
from tests.corpus import encode, remux
from tests.videos import numbered_frame, write_list


@pytest.fixture
def listed(tmp_path):
    """Two good videos, two with a packet missing, and two folders of frames, one damaged."""
    good = encode(tmp_path / "good.mkv", "hevc", 20, size=(48, 64))
    shutil.copy(encode(tmp_path / "vp9.webm", "vp9", 9, size=(48, 64)), tmp_path / "more.webm")
    remux(good, tmp_path / "gap.mkv", keep=lambda number, _: number != 15)
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
        for number in range(6):
            picture = Image.fromarray(numbered_frame(number, 48, 64))
            picture.save(tmp_path / name / f"{number + 1:05d}.jpg")
    torn = tmp_path / "torn" / "00004.jpg"
    torn.write_bytes(torn.read_bytes()[:700])
    rows = ["good.mkv", "gap.mkv", "vp9.webm", "whole", "torn", "more.webm"]
    return write_list(tmp_path / "list.txt", [(row, 0) for row in rows])


def index(listed, **settings):
    return index_list(listed, listed.with_suffix(".arrow"), progress=False, **settings)


def test_decoding_finds_what_packets_hide(listed):
    assert index(listed).manifest.frames.tolist() == [20, 19, 9, 6, 6, 9]
    report = index(listed, decode=True)
    assert report.manifest.frames.tolist() == [20, 0, 9, 6, 0, 9]
    (_, gap, why), (_, torn, reason) = report.manifest.problems()
    assert (gap, torn) == ("gap.mkv", "torn")
    assert "frame 1" in why  # 13 or 14, which come out of the decoder late
    assert "frame 3" in reason


def test_each_file_is_decoded_once(listed):
    assert index(listed).read == 6
    assert index(listed, decode=True).read == 6
    again = index(listed, decode=True)
    assert (again.read, again.kept) == (0, 6)
    assert index(listed).read == 0  # what was decoded is known to be whole
    assert index(listed).manifest.frames.tolist() == [20, 0, 9, 6, 0, 9]


def test_the_command(listed, capsys):
    output = str(listed.with_suffix(".arrow"))
    assert main(["index", str(listed), "-o", output, "--decode"]) == 0
    printed = capsys.readouterr().out
    assert "4 of 6" in printed
    assert "gap.mkv" in printed
    assert "torn" in printed
