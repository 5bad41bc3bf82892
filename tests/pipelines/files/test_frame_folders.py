from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tdn.pipelines.files.frame_folders import (
    FolderError,
    find_series,
    frame_path,
    is_frame,
    is_template,
)
from tdn.pipelines.indexing.probe import Request, probe
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tests.sources import write_frame_folder
from tests.videos import numbered_frame, read_number, write_list, write_video

UPSTREAM = ("{:05d}.jpg", "{:06d}.jpg", "img_{:05d}.jpg", "image_{:05d}.jpg")


def named(template: str, *numbers: int) -> list[str]:
    return [template.format(number) for number in numbers]


@pytest.mark.parametrize(
    "template", [*UPSTREAM, "frame{:d}.png", "{:04d}.JPG", "a{{b}}{:03d}.jpeg", "x.1_{:02d}.webp"]
)
@pytest.mark.parametrize("first", [0, 1, 9, 98, 99_998])
def test_names_are_found_out(template, first):
    names = named(template, *range(first, first + 13))
    random.Random(first).shuffle(names)
    found = find_series([*names, "notes.txt", "flow.npy"])
    assert (found.first, found.frames) == (first, 13)
    assert [found.name(frame) for frame in range(13)] == named(template, *range(first, first + 13))
    assert find_series(names, template) == (template, first, 13)


def test_a_single_picture_is_a_clip_of_one_frame():
    assert find_series(["img_00007.jpg"]) == ("img_{:05d}.jpg", 7, 1)


@pytest.mark.parametrize(
    ("others", "template"),
    [
        (["flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"], "img_{:05d}.jpg"),
        (["depth_{:04d}.png", "mask{:04d}.png"], "{:04d}.png"),
        (["u_{}.jpg"], "frame_{:06d}.jpg"),
    ],
)
def test_frames_are_told_from_other_series(others, template):
    names = named(template, 1, 2, 3)
    for other in others:
        names += named(other, 1, 2)
    assert find_series(names) == (template, 1, 3)
    assert find_series(names, others[0]).frames == 2


def test_an_explicit_template_may_have_text_behind_its_number():
    names = [*named("cam1_{:03d}_rgb.png", 4, 5), *named("cam1_{:03d}_depth.png", 4, 5)]
    with pytest.raises(FolderError):
        find_series(names)
    assert find_series(names, "cam1_{:03d}_rgb.png") == ("cam1_{:03d}_rgb.png", 4, 2)
    assert find_series(named("{:010d}.jpg", 0, 1), "{:010d}.jpg").frames == 2


@pytest.mark.parametrize(
    ("names", "template", "told"),
    [
        ([], "", "without"),
        (["a.txt", "cover.jpg", ".00001.jpg", "1234567890"], "", "without"),
        (named("{:05d}.jpg", 1, 2, 4, 5), "", "lacks 00003.jpg"),
        (named("{:05d}.jpg", 1, 3), "", "lacks 00002.jpg"),
        (["1.jpg", "02.jpg"], "", "lacks 2.jpg"),
        (["01.jpg", "1.jpg"], "", "lacks 02.jpg"),
        (["1.jpg", "2.JPG"], "", "several"),
        (["a1.jpg", "b1.jpg"], "", "data.frame_template"),
        (["img_00001.jpg"], "{:05d}.jpg", "00001.jpg"),
        (["img_00001.jpg"], "img_{:06d}.jpg", "img_000001.jpg"),
        (["img_00001.jpg"], "img_{:05d}.png", "img_00001.png"),
        (["1_2.jpg"], "1_{}.png", "1_1.png"),
    ],
)
def test_what_is_not_one_clip_is_told(names, template, told):
    with pytest.raises(FolderError) as error:
        find_series(names, template)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


heads = st.text(st.sampled_from("ab_{}. 0"), max_size=5).filter(lambda head: head[:1] != ".")
tails = st.sampled_from([".jpg", ".JPEG", ".png", ".bmp"])


@example("0", ".jpg", 0, 99_999_999, 2, random.Random(0))
@given(heads, tails, st.integers(0, 7), st.integers(0, 10**8), st.integers(1, 30), st.randoms())
def test_any_series_is_found_whole(head, tail, width, first, count, rng):
    numbers = range(first, first + count)
    names = [f"{head}{number:0{width}d}{tail}" for number in numbers]
    shuffled = rng.sample(names, count)
    try:
        found = find_series(shuffled)
    except FolderError:
        # Digits before the number, which grows: {}9.jpg, {}10.jpg can be two series.
        assert head.rstrip("0") != head
        return
    assert [found.name(frame) for frame in range(found.frames)] == names
    assert frame_path("folder", found.template, found.first, 0) == f"folder/{names[0]}"
    assert all(is_frame(name) for name in names)
    if count > 2:
        names.remove(missing := names[rng.randrange(1, count - 1)])
        with pytest.raises(FolderError, match="lacks") as error:
            find_series(names)
        assert str(error.value) == f"lacks {missing}"


@given(st.lists(st.text(max_size=8) | st.from_regex(r"[a-c]{0,2}[0-9]{1,3}\.jpg", fullmatch=True)))
def test_any_names_are_a_series_of_them_or_refused(names):
    try:
        found = find_series(names)
    except FolderError:
        return
    assert {found.name(frame) for frame in range(found.frames)} <= set(names)


@given(st.text(max_size=10) | st.text(st.sampled_from("a{}:05d!.[]0"), max_size=8))
def test_what_is_a_template_makes_names(text):
    if is_template(text):
        assert text.format(1) != text.format(2)
        assert find_series([text.format(3)], text).name(0) == text.format(3)


def test_templates():
    assert all(map(is_template, [*UPSTREAM, "{}.jpg", "{0:05d}.png", "a{{}}{:d}.jpg"]))
    wrong = [
        "",
        "a.jpg",
        "{0}_{0}.jpg",
        "{}_{}.jpg",
        "{x}.jpg",
        "{:05d",
        "a/{:05d}.jpg",
        "{:Q}.jpg",
        "{[0]}.jpg",
    ]
    assert not any(map(is_template, wrong))


SHOWN = 101
"""What frame 0 shows: a number with black and white fields."""


def folder_of(path, mode: str, ending: str = "png", **options):
    """Five frames of a mode; without options the default ones."""
    path.mkdir()
    for number in range(5):
        picture = Image.fromarray(numbered_frame(SHOWN + number, 96, 128))
        if mode == "I;16":
            picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        else:
            picture = picture.convert(mode)
        picture.save(path / f"{number}.{ending}", **options)
    return path


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS = {
    "rgb": ("RGB", "jpg", {}),
    "grey": ("L", "jpg", {}),
    "cmyk": ("CMYK", "jpg", {}),
    "turned": ("RGB", "jpg", {"exif": turned()}),
    "progressive": ("RGB", "jpg", {"progressive": True}),
    "upper case": ("RGB", "JPEG", {}),
    "palette": ("P", "png", {}),
    "16 bits": ("I;16", "png", {}),
    "1 bit": ("1", "png", {}),
    "alpha": ("RGBA", "png", {}),
    "grey and alpha": ("LA", "png", {}),
    "lossless": ("RGB", "webp", {"lossless": True}),
    "bitmap": ("RGB", "bmp", {}),
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    for name, (mode, ending, options) in KINDS.items():
        folder_of(root / name, mode, ending, **options)
    return root


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_is_probed(kinds, name):
    found = probe(Request(str(kinds / name)))
    assert found.problem == ""
    assert (found.frames, found.width, found.height, found.first) == (5, 128, 96, 0)
    assert found.rotation == 0  # as stored: the network is fed what other tools show of the pixels


@pytest.mark.parametrize("with_video", [False, True])
def test_every_kind_of_picture_is_decoded(config, kinds, tmp_path, with_video):
    """By DALI or Pillow in the graph of pictures, and by Pillow beside videos."""
    rows = [(kinds / name, 0) for name in KINDS]
    if with_video:
        pictures = [numbered_frame(SHOWN + number, 96, 128) for number in range(5)]
        rows.append((write_video(tmp_path / "v.webm", pictures), 0))
    config.data.validation_list = str(write_list(tmp_path / "list.txt", rows))
    seen = 0
    for batch in create_loader(config, "validation"):
        for clip, numbers in zip(batch.clips, batch.frame_numbers, strict=True):
            for frame, number in zip(clip.flatten(0, 1), numbers.flatten(), strict=True):
                assert read_number(frame.numpy()) == SHOWN + number
                assert 100 < np.median(frame) < 160  # the grey around the fields
        seen += len(batch.labels)
    assert seen == len(rows)


def test_what_pictures_cannot_be_frames_is_told(tmp_path):
    broken = {"text": b"no picture", "empty": b"", "cut": None, "gif": None, "32 bits": None}
    for name, content in broken.items():
        (tmp_path / name).mkdir()
        picture = Image.fromarray(numbered_frame(0, 96, 128))
        if name == "gif":
            picture.save(tmp_path / name / "1.jpg", format="gif")
        elif name == "32 bits":
            Image.new("F", (9, 9)).save(tmp_path / name / "1.png", format="tiff")
        elif name == "cut":
            picture.save(tmp_path / name / "1.jpg")
            content = (tmp_path / name / "1.jpg").read_bytes()[:400]
        if content is not None:
            (tmp_path / name / "1.jpg").write_bytes(content)
        found = probe(Request(str(tmp_path / name)))
        assert found.problem
        assert "\n" not in found.problem
        assert found.frames == 0


def test_thousands_of_frames(tmp_path):
    folder = write_frame_folder(tmp_path / "clip", 1, template="img_{:05d}.jpg")
    for number in range(2, 3001):
        os.link(folder / "img_00001.jpg", folder / f"img_{number:05d}.jpg")
    assert probe(Request(str(folder))).frames == 3000


def test_the_template_that_was_asked_for_is_kept(tmp_path):
    for template, frames in (("img_{:05d}.jpg", 6), ("flow_{:05d}.jpg", 4)):
        write_frame_folder(tmp_path / template[:4], frames, template=template)
    clip = tmp_path / "clip"
    clip.mkdir()
    for picture in (*(tmp_path / "img_").iterdir(), *(tmp_path / "flow").iterdir()):
        picture.rename(clip / picture.name)
    listed = write_list(tmp_path / "list.txt", [("clip 10", 0)])

    def index(template=""):
        return index_list(listed, tmp_path / "m.arrow", template=template, progress=False)

    assert index().manifest.frames.tolist() == [6]
    flow = index("flow_{:05d}.jpg")  # what was found with another template does not count
    assert (flow.read, flow.manifest.frames.tolist()) == (1, [4])
    assert flow.manifest.clip(0).template == "flow_{:05d}.jpg"
    assert index("flow_{:05d}.jpg").read == 0


def test_videos_of_pictures_are_videos(config, tmp_path):
    """Screens are recorded so; and a picture where a video should be is a video of one frame."""
    rows = [(write_video(tmp_path / "v", 9, codec="png"), 0)]
    for ending in ("png", "bmp", "jpg"):
        Image.fromarray(numbered_frame(0, 96, 128)).save(tmp_path / f"p.{ending}")
        rows.append((tmp_path / f"p.{ending}", 0))
    config.data.validation_list = str(write_list(tmp_path / "list.txt", rows))
    loader = create_loader(config, "validation")
    assert loader.planner.manifest.frames.tolist() == [9, 1, 1, 1]
    for batch in loader:
        for clip, numbers in zip(batch.clips, batch.frame_numbers, strict=True):
            shown = [read_number(frame) for frame in clip.flatten(0, 1).numpy()]
            assert shown == numbers.flatten().tolist()
