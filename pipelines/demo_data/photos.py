"""Photographs for backgrounds and textures: those that the scikit-image package carries.

Every one of them is free to use; nothing is downloaded. Who made them, as scikit-image states it:

=============  ======  ================================================================
astronaut      colour  NASA; released into the public domain
coffee         colour  Rachel Michetti; CC0
hubble         colour  NASA; public domain
retina         colour  Mikael Häggström; CC0
camera         grey    Lav Varshney; CC0
coins          grey    Brooklyn Museum; no known copyright restrictions
brick          grey    CC0Textures; CC0
grass          grey    CC0Textures; CC0
chelsea        colour  Stefan van der Walt; CC0
rocket         colour  SpaceX; released into the public domain
ihc            colour  CMMI; no known copyright restrictions
gravel         grey    CC0Textures; CC0
text           grey    Wikipedia; released into the public domain
=============  ======  ================================================================

The first eight are for training, the last five for validation: a network is never tested on a
texture that it has seen.
"""

from __future__ import annotations

import functools
import importlib.resources
import math

import numpy as np
from PIL import Image, ImageStat

from tdn.errors import UserError

PHOTOS = {
    "train": (
        "astronaut.png",
        "coffee.png",
        "hubble_deep_field.jpg",
        "retina.jpg",
        "camera.png",
        "coins.png",
        "brick.png",
        "grass.png",
    ),
    "validation": ("chelsea.png", "rocket.jpg", "ihc.png", "gravel.png", "text.png"),
}

# Standard deviation of the grey levels: a patch of sky or wall has less, of a face more.
_ENOUGH_CONTRAST = 25.0
LUMA = np.array([0.299, 0.587, 0.114])


@functools.cache
def load_photos(split: str) -> tuple[Image.Image, ...]:
    """The split's photographs, RGB, the longer side at most 640 pixels."""
    folder = importlib.resources.files("skimage") / "data"
    photos = []
    for name in PHOTOS[split]:
        try:
            with (folder / name).open("rb") as file, Image.open(file) as picture:
                photo = picture.convert("RGB")
        except FileNotFoundError as error:
            raise UserError(
                f"{folder / name} is missing: reinstall scikit-image (0.24 or newer), "
                "which carries the photographs of the demo data"
            ) from error
        photo.thumbnail((640, 640), Image.Resampling.BOX)
        photos.append(photo)
    return tuple(photos)


def sample_patch(
    rng: np.random.Generator, split: str, size: tuple[int, int], max_angle: float
) -> Image.Image:
    """A random piece of a random photograph, ``size`` = (width, height) pixels, RGB.

    Turned by up to ``max_angle`` radians either way and possibly mirrored. A piece without
    structure, on which motion would be invisible, is thrown back; after some tries the best counts.
    """
    patches = []
    for _ in range(6):
        patch = _random_piece(rng, split, size, max_angle)
        contrast = ImageStat.Stat(patch.convert("L")).stddev[0]
        patches.append((contrast, patch))
        if contrast >= _ENOUGH_CONTRAST:
            break
    return max(patches, key=lambda each: each[0])[1]


def _random_piece(
    rng: np.random.Generator, split: str, size: tuple[int, int], max_angle: float
) -> Image.Image:
    photos = load_photos(split)
    photo = photos[rng.integers(len(photos))]
    width, height = size
    angle = rng.uniform(-max_angle, max_angle)
    cos, sin = math.cos(angle), math.sin(angle)
    # Extent of the turned patch, and the largest zoom at which it still fits into the photograph.
    wide = width * abs(cos) + height * abs(sin)
    high = width * abs(sin) + height * abs(cos)
    largest = min(photo.width / wide, photo.height / high)
    zoom = min(largest, 2.2) * rng.uniform(0.55, 1.0)
    centre_x = rng.uniform(zoom * wide / 2, photo.width - zoom * wide / 2)
    centre_y = rng.uniform(zoom * high / 2, photo.height - zoom * high / 2)
    mirror = rng.choice([-1.0, 1.0])
    a, b = zoom * cos * mirror, -zoom * sin
    d, e = zoom * sin * mirror, zoom * cos
    affine = (
        a,
        b,
        centre_x - a * width / 2 - b * height / 2,
        d,
        e,
        centre_y - d * width / 2 - e * height / 2,
    )
    return photo.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)


def recolour(
    image: Image.Image,
    *,
    dark: np.ndarray,
    light: np.ndarray,
    keep: float,
    contrast: float,
) -> Image.Image:
    """Repaint an RGB image between two colours, keeping a part of its own colours.

    The result's brightness has the spread ``contrast`` (standard deviation, grey levels) and lies
    around the middle of ``dark`` and ``light`` (RGB, 0 to 255). ``keep`` (0 to 1) is how much of
    the photograph's own hue survives.
    """
    grey = ImageStat.Stat(image.convert("L"))
    mean, spread = grey.mean[0], max(grey.stddev[0], 4.0)
    gain = contrast / spread
    middle, span = (dark + light) / 2, (light - dark) / 255.0
    # out = middle + gain * ((1 - keep) * span * (luma - mean) + keep * (rgb - mean))
    own = keep * np.eye(3)
    painted = (1 - keep) * np.outer(span / max(LUMA @ span, 0.2), LUMA)
    matrix = gain * (own + painted)
    offset = middle - matrix @ np.full(3, mean)
    return image.convert("RGB", tuple(np.column_stack([matrix, offset]).ravel().tolist()))
