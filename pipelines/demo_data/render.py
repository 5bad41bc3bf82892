"""From a scene to frames: the picture of one clip as a pure function of three integers."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image, ImageFilter

from tdn.pipelines.demo_data.classes import MotionClass
from tdn.pipelines.demo_data.photos import PHOTOS, recolour, sample_patch
from tdn.pipelines.demo_data.scenes import FRAMES, HEIGHT, WIDTH, Actor, Scene, sample_scene
from tdn.pipelines.demo_data.sprites import Sprite, make_shadow, make_sticker

PIXELS_PER_UNIT = 1.375
FRAME_SIZE = (round(PIXELS_PER_UNIT * WIDTH), round(PIXELS_PER_UNIT * HEIGHT))
"""Width and height in pixels, 176 x 132: NVIDIA's video decoders take VP9 from 128 x 128 on."""

_AFFINE, _BILINEAR = Image.Transform.AFFINE, Image.Resampling.BILINEAR


def render_clip(seed: int, split: str, index: int, motion: MotionClass) -> np.ndarray:
    """The frames of clip ``index`` of a split if it is to show ``motion``.

    Returns uint8 (40, 132, 176, 3), RGB. A pure function of its arguments: the two members of a
    pair give the same frames in opposite order, so no single frame tells them apart.
    """
    rng = np.random.default_rng([seed, list(PHOTOS).index(split), index])
    scene = sample_scene(rng, motion.motion)
    frames = _render_scene(rng, split, scene)
    return frames[::-1] if motion.backwards else frames


def _render_scene(rng: np.random.Generator, split: str, scene: Scene) -> np.ndarray:
    width, height = FRAME_SIZE
    camera_x, camera_y = PIXELS_PER_UNIT * scene.camera_x, PIXELS_PER_UNIT * scene.camera_y
    margin_x = math.ceil(np.abs(camera_x).max()) + 1
    margin_y = math.ceil(np.abs(camera_y).max()) + 1
    backdrop = _backdrop(rng, split, (width + 2 * margin_x, height + 2 * margin_y))
    sprites = [_make_sprite(rng, split, actor) for actor in scene.actors]
    frames = np.empty((FRAMES, height, width, 3), np.uint8)
    for number, (x, y) in enumerate(zip(camera_x, camera_y, strict=True)):
        window = (1, 0, margin_x + x, 0, 1, margin_y + y)
        picture = backdrop.transform(FRAME_SIZE, _AFFINE, window, _BILINEAR)
        for actor, sprite in zip(scene.actors, sprites, strict=True):
            _paste(picture, sprite, actor, number, (x, y))
        frames[number] = np.asarray(picture)
    return frames


def _make_sprite(rng: np.random.Generator, split: str, actor: Actor) -> Sprite:
    if actor.look == "shadow":
        return make_shadow(PIXELS_PER_UNIT * actor.radius)
    return make_sticker(
        rng, split, PIXELS_PER_UNIT * actor.radius, wide=actor.look == "wide sticker"
    )


def _backdrop(rng: np.random.Generator, split: str, size: tuple[int, int]) -> Image.Image:
    """A piece of a photograph, calmer than what moves before it: a little blurred and pale."""
    patch = sample_patch(rng, split, size, max_angle=0.3)
    patch = patch.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
    hue, level = rng.uniform(), rng.uniform(0.62, 1.0)
    return recolour(
        patch,
        dark=255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.2, 0.6), 0.2 * level)),
        light=255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.4), level)),
        keep=rng.uniform(0.2, 1.0),
        contrast=rng.uniform(28, 42),
    )


def _paste(
    picture: Image.Image,
    sprite: Sprite,
    actor: Actor,
    number: int,
    camera: tuple[float, float],
) -> None:
    """Draw an actor at its place in frame ``number``, turned and scaled, to a part of a pixel."""
    x = PIXELS_PER_UNIT * actor.x[number] - camera[0]
    y = PIXELS_PER_UNIT * actor.y[number] - camera[1]
    cos = math.cos(actor.angle[number]) / actor.scale[number]
    sin = math.sin(actor.angle[number]) / actor.scale[number]
    reach = math.ceil(sprite.half * actor.scale[number] * 1.05) + 1
    left, top = math.floor(x) - reach, math.floor(y) - reach
    right_of, below = left - x, top - y  # the box's corner as seen from the actor's middle
    affine = (
        cos,
        sin,
        sprite.half + cos * right_of + sin * below,
        -sin,
        cos,
        sprite.half - sin * right_of + cos * below,
    )
    size = (2 * reach + 1, 2 * reach + 1)
    colour = sprite.colour.transform(size, _AFFINE, affine, _BILINEAR)
    mask = sprite.mask.transform(size, _AFFINE, affine, _BILINEAR)
    picture.paste(colour, (left, top), mask)
