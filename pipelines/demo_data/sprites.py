"""The things that move: photo-textured stickers in many shapes, and soft shadows."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tdn.pipelines.demo_data.photos import recolour, sample_patch

_OVERSAMPLE = 4  # outlines are drawn this much larger and averaged down, for smooth edges
_ANGLES = np.linspace(0, 2 * np.pi, 96, endpoint=False)


@dataclass(frozen=True)
class Sprite:
    """A picture to paste: ``colour`` (RGB) where ``mask`` (L) says so, both of one square size."""

    colour: Image.Image
    mask: Image.Image

    @property
    def half(self) -> float:
        """Half the side of the square, pixels: no part of the sprite is farther from its middle."""
        return self.colour.width / 2


def _disc(_: np.random.Generator) -> np.ndarray:
    return np.ones_like(_ANGLES)


def _polygon(rng: np.random.Generator) -> np.ndarray:
    corners = rng.choice([3, 4, 5, 6])
    sector = 2 * np.pi / corners
    return np.cos(sector / 2) / np.cos(_ANGLES % sector - sector / 2)


def _rectangle(_: np.random.Generator) -> np.ndarray:
    return (np.abs(np.cos(_ANGLES)) ** 5 + np.abs(np.sin(_ANGLES)) ** 5) ** -0.2


def _flower(rng: np.random.Generator) -> np.ndarray:
    return 1 + rng.uniform(0.14, 0.24) * np.cos(rng.choice([3, 4, 5]) * _ANGLES)


def _star(rng: np.random.Generator) -> np.ndarray:
    sector = 2 * np.pi / rng.choice([5, 6])
    distance = np.abs(_ANGLES % sector - sector / 2) / (sector / 2)
    return 0.62 + 0.38 * distance


def _heart(_: np.random.Generator) -> np.ndarray:
    # A disc, pinched at the top (-y) and pulled to a tip at the bottom.
    off_top = np.abs((_ANGLES + np.pi / 2 + np.pi) % (2 * np.pi) - np.pi)
    return 0.42 + 0.48 * np.minimum(off_top / 0.9, 1) ** 0.8 + 0.35 * (off_top / np.pi) ** 8


_SHAPES = (_disc, _polygon, _polygon, _flower, _star, _heart)
_WIDE_SHAPES = (_disc, _rectangle)  # they fill most of the circle around them


def _outline(radii: np.ndarray) -> np.ndarray:
    """Polar radii to points (x, y); the farthest lies at distance 1."""
    return np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) * (radii / radii.max())[:, None]


def _bright_colour(rng: np.random.Generator, hue: float, value: float) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.55, 0.9), value))


def make_sticker(
    rng: np.random.Generator, split: str, radius: float, *, wide: bool = False
) -> Sprite:
    """A random shape of ``radius`` pixels, textured with a photograph, with a rim and a shadow.

    A ``wide`` one hides everything within 0.8 of its radius.
    """
    shapes = _WIDE_SHAPES if wide else _SHAPES
    points = _outline(shapes[rng.integers(len(shapes))](rng))
    rim = max(1.1, 0.07 * radius)
    blur = 0.08 * radius + 1
    side = 2 * math.ceil(radius + rim + 2 * blur)
    inner, outer = _draw_masks(points * radius, rim, side)

    hue = rng.uniform()
    texture = recolour(
        sample_patch(rng, split, (side, side), math.pi),
        dark=_bright_colour(rng, hue + rng.uniform(-0.12, 0.12), 0.35),
        light=_bright_colour(rng, hue, 1.0),
        keep=rng.uniform(0.1, 0.8),
        contrast=rng.uniform(36, 56),
    )
    rim_colour = (250, 246, 236) if rng.uniform() < 0.7 else (24, 22, 30)
    colour = Image.new("RGB", (side, side), (0, 0, 0))
    colour.paste(rim_colour, mask=outer)
    colour.paste(texture, mask=inner)
    shadow = outer.filter(ImageFilter.GaussianBlur(blur)).point(lambda value: value * 0.55)
    mask = Image.composite(outer, shadow, outer)
    return Sprite(colour, mask)


def _draw_masks(points: np.ndarray, rim: float, side: int) -> tuple[Image.Image, Image.Image]:
    """Masks of the shape without and with its rim."""
    scale = _OVERSAMPLE
    corners = [(float(x), float(y)) for x, y in (points + side / 2) * scale]
    inner = Image.new("L", (side * scale, side * scale))
    ImageDraw.Draw(inner).polygon(corners, fill=255)
    outer = inner.copy()
    ImageDraw.Draw(outer).line(
        [*corners, *corners[:2]], fill=255, width=round(2 * rim * scale), joint="curve"
    )
    return inner.reduce(scale), outer.reduce(scale)


def make_shadow(radius: float) -> Sprite:
    """The shadow that something of this radius casts on the ground: a soft dark ellipse."""
    side = 2 * math.ceil(1.3 * radius)
    mask = Image.new("L", (side, side))
    box = (side / 2 - radius, side / 2 - radius / 3, side / 2 + radius, side / 2 + radius / 3)
    ImageDraw.Draw(mask).ellipse(box, fill=165)
    mask = mask.filter(ImageFilter.GaussianBlur(0.12 * radius))
    return Sprite(Image.new("RGB", (side, side)), mask)
