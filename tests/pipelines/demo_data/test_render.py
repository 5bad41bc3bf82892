"""Rendered clips: what they depend on, and that only the order of the frames tells pairs apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tdn.errors import UserError
from tdn.pipelines.demo_data import photos
from tdn.pipelines.demo_data.classes import motion_classes
from tdn.pipelines.demo_data.render import render_clip
from tdn.pipelines.demo_data.scenes import FRAMES, HEIGHT, MOTIONS, WIDTH, sample_scene

CLASSES = motion_classes(16)


def grey_thumbnails(frames: np.ndarray) -> np.ndarray:
    """uint8 (F, 132, 176, 3) to float (F, 33, 44): means of 4 x 4 pixels and three colours."""
    return frames.reshape(len(frames), 33, 4, 44, 4, 3).mean((2, 4, 5))


def affine_flow(frames: np.ndarray) -> dict[str, float]:
    """How the picture moves on the whole: least squares over all pixels of all frames.

    Every pixel asks that brightness be carried along, I_t + u I_x + v I_y = 0, with u and v linear
    in the place; the place counts from where there is most motion.
    """
    grey = grey_thumbnails(frames)
    middle = (grey[1:] + grey[:-1]) / 2
    d_t, (d_y, d_x) = np.diff(grey, axis=0), np.gradient(middle, axis=(1, 2))
    y, x = (place.astype(float) for place in np.mgrid[:33, :44])
    weight = (d_t**2).mean(0) / (d_t**2).mean(0).sum()
    y, x = y - (weight * y).sum(), x - (weight * x).sum()
    terms = [d_x, d_x * x, d_x * y, d_y, d_y * x, d_y * y]
    moving = d_t**2 > (d_t**2).mean()
    matrix = np.stack([term[moving] for term in terms], axis=1)
    u, u_x, u_y, v, v_x, v_y = np.linalg.lstsq(matrix, -d_t[moving], rcond=None)[0]
    return {"right": u, "down": v, "clockwise": v_x - u_y, "outward": u_x + v_y}


# What each class does to the picture; the cover comes from any direction.
DIRECTIONS = {
    "moving right": ("right", 1),
    "moving left": ("right", -1),
    "lifting up": ("down", -1),
    "putting down": ("down", 1),
    "rotating clockwise": ("clockwise", 1),
    "rotating counterclockwise": ("clockwise", -1),
    "coming together": ("outward", -1),
    "moving apart": ("outward", 1),
    "orbiting clockwise": ("clockwise", 1),
    "orbiting counterclockwise": ("clockwise", -1),
    "camera panning right": ("right", -1),
    "camera panning left": ("right", 1),
    "coming closer": ("outward", 1),
    "going away": ("outward", -1),
}


def test_a_clip_has_the_promised_shape():
    frames = render_clip(0, "train", 0, CLASSES[0])
    assert frames.shape == (FRAMES, 132, 176, 3)
    assert frames.dtype == np.uint8
    assert frames.std() > 20


@pytest.mark.parametrize("forwards", CLASSES[::2], ids=lambda each: each.motion)
def test_the_members_of_a_pair_are_each_other_backwards(forwards):
    backwards = CLASSES[forwards.pair]
    frames = render_clip(3, "validation", 7, forwards)
    assert np.array_equal(frames[::-1], render_clip(3, "validation", 7, backwards))
    assert not np.array_equal(frames[::-1], frames)


def test_a_clip_depends_on_seed_split_and_index_only(monkeypatch):
    # With equal photographs in both splits the scenes alone must differ.
    monkeypatch.setattr(photos, "load_photos", lambda _, load=photos.load_photos: load("train"))
    slide = CLASSES[0]
    clip = render_clip(1, "train", 2, slide)
    assert np.array_equal(clip, render_clip(1, "train", 2, slide))
    for seed, split, index in ((2, "train", 2), (1, "validation", 2), (1, "train", 3)):
        assert not np.array_equal(clip, render_clip(seed, split, index, slide))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_motion_goes_where_the_name_says_and_a_flip_where_the_mirror_class_says(name):
    shown = next(each for each in CLASSES if each.name == name)
    axis, sign = DIRECTIONS[name]
    mirror_axis, mirror_sign = DIRECTIONS[CLASSES[shown.mirror].name]
    for index in range(4):
        frames = render_clip(5, "train", index, shown)
        assert np.sign(affine_flow(frames)[axis]) == sign
        assert np.sign(affine_flow(frames[:, :, ::-1])[mirror_axis]) == mirror_sign


def test_motion_is_visible_at_the_size_that_a_small_network_sees():
    """Half of the clips' frames differ clearly from the frame 4 later, at 33 x 44 pixels."""
    for each in CLASSES[::2]:
        grey = grey_thumbnails(render_clip(8, "train", each.label, each))
        strongest = np.abs(grey[4:] - grey[:-4]).max((1, 2))
        assert np.median(strongest) > 12


@pytest.mark.parametrize("motion", sorted(MOTIONS.keys() - {"pan"}))  # there all things leave
def test_what_moves_stays_in_sight(motion):
    """The middle of the last actor, the one that moves, is never outside the frame."""
    for seed in range(200):
        actor = sample_scene(np.random.default_rng(seed), motion).actors[-1]
        assert actor.x.min() > 0
        assert actor.x.max() < WIDTH
        assert actor.y.min() > 0
        assert actor.y.max() < HEIGHT


def test_training_and_validation_share_no_photograph():
    assert not set(photos.PHOTOS["train"]) & set(photos.PHOTOS["validation"])
    for split, names in photos.PHOTOS.items():
        loaded = photos.load_photos(split)
        assert len(loaded) == len(names)
        assert all(min(photo.size) >= 170 and photo.mode == "RGB" for photo in loaded)


def test_a_missing_photograph_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(photos.PHOTOS, "train", ("gone.png",))
    photos.load_photos.cache_clear()
    with pytest.raises(UserError, match=r"gone\.png"):
        photos.load_photos("train")
    photos.load_photos.cache_clear()


def test_recolouring_sets_contrast_and_middle():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(100, 120, (60, 80, 3), dtype=np.uint8))
    dark, light = np.array([10.0, 20.0, 30.0]), np.array([210.0, 200.0, 190.0])
    painted = np.asarray(photos.recolour(noise, dark=dark, light=light, keep=0.0, contrast=30.0))
    assert np.allclose(painted.mean((0, 1)), (dark + light) / 2, atol=2)
    assert abs((painted @ photos.LUMA).std() - 30) < 2
