from __future__ import annotations

import errno

import numpy as np
import pytest
from PIL import Image

from tdn.drawing import font, save_png, shortened
from tdn.errors import UserError
from tdn.visualization.batch_sheet import Row, batch_sheet
from tests.tdn.visualization.pictures import places

ORANGE, BLUE, RED = (255, 140, 0), (9, 105, 218), (207, 34, 46)


def row(segments=3, size=(20, 30), box=(0, 0, 60, 80), mirrored=False, **fields) -> Row:
    rng = np.random.default_rng(segments)
    frames = rng.integers(0, 256, (segments, 5, *size, 3), np.uint8)
    numbers = np.arange(segments)[:, None] * 7 + np.arange(5)
    given = {"label": "3 lifting", "file": "a.webm", "cut": "cut", "frame_size": (60, 80)}
    return Row(frames, numbers, box=box, mirrored=mirrored, **(given | fields))


def test_every_frame_is_drawn_pixel_by_pixel_in_order():
    rows = [row(3), row(4)]
    sheet = np.asarray(batch_sheet(rows, 112))
    tops = []
    for clip in rows:
        found = [places(sheet, frame) for segment in clip.frames for frame in segment]
        assert all(len(place) == 1 for place in found)
        ys, xs = np.array(found)[:, 0].T
        assert len(set(ys)) == 1
        assert (np.diff(xs) >= 30).all()
        tops.append(ys[0])
    assert tops[0] < tops[1]


@pytest.mark.parametrize(("size", "side", "factor"), [((20, 30), 16, 2), ((33, 50), 17, 3)])
def test_large_frames_are_reduced_by_a_whole_factor(size, side, factor):
    clip = row(2, size)
    sheet = np.asarray(batch_sheet([clip], side))
    for frame in clip.frames.reshape(-1, *size, 3):
        small = np.asarray(Image.fromarray(frame).reduce(factor))
        assert max(small.shape) <= side
        assert len(places(sheet, small)) == 1


def test_centre_frames_alone_are_framed():
    clip = row(3)
    sheet = np.asarray(batch_sheet([clip], 112))
    for segment in clip.frames:
        for place, frame in enumerate(segment):
            ((y, x),) = places(sheet, frame)
            border = np.concatenate((sheet[y - 1, x : x + 30], sheet[y + 20, x : x + 30]))
            orange = (border == ORANGE).all(-1)
            assert orange.all() == orange.any() == (place == 2)


def test_long_clips_are_broken_into_even_lines():
    clip = row(24, (20, 34))
    sheet = np.asarray(batch_sheet([clip], 112))
    tops = [places(sheet, frames[0])[0][0] for frames in clip.frames]
    assert [tops.count(y) for y in sorted(set(tops))] == [12, 12]
    assert tops == sorted(tops)
    assert sheet.shape[1] < 3000


def test_the_map_shows_what_was_cut_out_and_whether_it_is_mirrored():
    def part(colour, **fields):
        sheet = np.asarray(batch_sheet([row(2, (60, 80), **fields)], 112))
        ((y, x),) = places(sheet, row(2, (60, 80)).frames[0, 0])
        below, right = np.argwhere((sheet[y : y + 60, : x - 2] == colour).all(-1)).T
        return [(v.min(), v.max() + 1) for v in (below, right - 8)] if len(below) else None

    # The map is as high as a frame, and here the video's frame is as large as that.
    assert part(BLUE) == [(0, 60), (0, 80)]
    assert part(BLUE, box=(10, 30, 40, 70)) == [(10, 40), (30, 70)]
    assert part(RED) is None
    assert part(RED, mirrored=True) is not None


def test_texts_are_where_they_change_the_picture():
    plain = np.asarray(batch_sheet([row()], 112))
    for fields in ({"label": "4 putting"}, {"file": "b.webm"}, {"cut": "uncut"}):
        changed = np.asarray(batch_sheet([row(**fields)], 112)) != plain
        assert changed.any()
        assert not changed[50:].any()
    numbers = row()._replace(numbers=row().numbers + 30)
    assert (np.asarray(batch_sheet([numbers], 112)) != plain)[50:].any()


def test_long_words_make_the_picture_wider():
    words = "mirrored; " * 40
    assert batch_sheet([row(cut=words)], 112).width > font(12).getlength(words)


def test_a_long_text_loses_its_beginning():
    text = "/a/long/path/to/a/video.webm"
    assert shortened(text, 1000, 12) == text
    short = shortened(text, 80, 12)
    assert short.startswith("...")
    assert text.endswith(short[3:])
    assert font(12).getlength(short) <= 80 < font(12).getlength("..." + text[-len(short) :])
    assert shortened(text, 2, 12) == ""


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    picture = batch_sheet([row()], 112)
    path = tmp_path / "new" / "a.png"
    save_png(picture, path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))
    with pytest.raises(UserError, match=r"a\.png"):
        save_png(picture, path / "a.png")

    def full_disk(_picture, file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match=r"a\.png"):
        save_png(picture, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
