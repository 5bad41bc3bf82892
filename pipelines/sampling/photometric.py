"""How a training clip's colours are changed and which part of it is erased: the random draws.

Off in the published recipes. All frames of a clip are changed alike, and no operation looks at the
picture (as equalising its histogram would): what differs between two frames must be motion, for the
network reads differences.

Colour operations are drawn as RandAugment does (Cubuk et al., 2020): some different ones, all of
one magnitude, each up or down at random. The linear ones become one matrix, so that a picture is
rounded and cut to 0..255 once; solarize and posterize come after it. Random erasing is that of
Zhong et al. (2020), filled with ImageNet's mean colour, which the network normalises to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tdn.config import DataConfig
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.sampling.randomness import Purpose, generator

FILL = (124, 116, 104)
"""Red, green and blue of what is erased."""
_LUMA = np.array((0.299, 0.587, 0.114))
_YIQ = np.array((_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)))
_AREA = (0.02, 1 / 3)  # of the picture's
_ASPECT = (0.3, 1 / 0.3)  # width to height
_TRIES = 10

Matrix = npt.NDArray[np.float64]


class ColorChange(NamedTuple):
    """What is done to the colours of all frames of a clip, in this order."""

    operations: tuple[str, ...] = ()
    """The drawn operations, in words."""
    matrix: Matrix = np.eye(3, 4)
    """(3, 4): a colour (r, g, b, 1), of 0 to 255, becomes its product with this."""
    inverted_from: int = 256
    """Values v from this one on become 255 - v."""
    kept_bits: int = 255
    """Mask of the bits that are kept."""

    @property
    def mixes(self) -> bool:
        """Whether a channel's new value depends on the others."""
        return bool(np.count_nonzero(self.matrix[:, :3]) > 3)


class Box(NamedTuple):
    """A part of the network's input, in pixels; by default nothing."""

    y: int = 0
    x: int = 0
    height: int = 0
    width: int = 0

    def __bool__(self) -> bool:
        return self.height * self.width > 0


class Look(NamedTuple):
    """The photometric part of a view; None for what is not configured."""

    color: ColorChange | None = None
    erased: Box | None = None


def draw_look(data: DataConfig, target: Size, seed: int, epoch: int, position: int) -> Look:
    """The look of the training clip at a position.

    Args:
        data: ``color_ops``, ``color_magnitude``, ``erasing``.
        target: Height and width of the network's input.
        seed: The run's.
        epoch: From 0.
        position: In the epoch's global order, from 0.
    """
    color = erased = None
    if data.color_ops:
        rng = generator(seed, epoch, position, Purpose.COLOR)
        color = draw_color_change(data.color_ops, data.color_magnitude, rng)
    if data.erasing:
        rng = generator(seed, epoch, position, Purpose.ERASING)
        erased = draw_box(target, rng) if rng.random() < data.erasing else Box()
    return Look(color, erased)


def draw_color_change(count: int, magnitude: float, rng: np.random.Generator) -> ColorChange:
    """Compose different operations, drawn at random.

    Args:
        count: How many, 0 to ``len(OPERATIONS)``.
        magnitude: Of all of them, 0 to 1.
        rng: Source of the draws.
    """
    change = ColorChange()
    for index in rng.permutation(len(OPERATIONS))[:count]:
        sign = 1 if rng.integers(2) else -1
        change = OPERATIONS[index](change, sign * magnitude)
    return change


def draw_box(picture: Size, rng: np.random.Generator) -> Box:
    """A random part of a picture; nothing where ten draws do not fit into it."""
    height, width = picture
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*_AREA)
        aspect = math.exp(rng.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        rows, columns = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            y, x = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            return Box(int(y), int(x), rows, columns)
    return Box()


def brightness(change: ColorChange, magnitude: float) -> ColorChange:
    """Multiply by 1 + 0.9 magnitude; -1 <= magnitude <= 1, as for all of these."""
    factor = 1 + 0.9 * magnitude
    return _linear(change, f"brightness x{factor:.2f}", factor * np.eye(3))


def contrast(change: ColorChange, magnitude: float) -> ColorChange:
    """Multiply the distance to middle grey (not to the picture's mean) by 1 + 0.9 magnitude."""
    factor = 1 + 0.9 * magnitude
    return _linear(change, f"contrast x{factor:.2f}", factor * np.eye(3), 127.5 * (1 - factor))


def saturation(change: ColorChange, magnitude: float) -> ColorChange:
    """Multiply the distance to the grey of the same brightness by 1 + 0.9 magnitude."""
    factor = 1 + 0.9 * magnitude
    return _linear(change, f"saturation x{factor:.2f}", _saturation(factor))


def hue(change: ColorChange, magnitude: float) -> ColorChange:
    """Turn the colours by 90 degrees x magnitude, in the chroma plane of YIQ."""
    angle = math.radians(90 * magnitude)
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array(((1, 0, 0), (0, c, -s), (0, s, c)))
    return _linear(change, f"hue {90 * magnitude:+.0f} degrees", np.linalg.inv(_YIQ) @ turn @ _YIQ)


def grayscale(change: ColorChange, magnitude: float) -> ColorChange:
    """Take the colours away, whatever the magnitude."""
    del magnitude
    return _linear(change, "grayscale", _saturation(0))


def solarize(change: ColorChange, magnitude: float) -> ColorChange:
    """Invert the values from 255 (1 - |magnitude|) on."""
    limit = round(255 * (1 - abs(magnitude)))
    words = (*change.operations, f"solarize from {limit}")
    return change._replace(operations=words, inverted_from=limit)


def posterize(change: ColorChange, magnitude: float) -> ColorChange:
    """Keep 8 - 4 |magnitude| bits, rounded."""
    bits = 8 - round(4 * abs(magnitude))
    words = (*change.operations, f"posterize to {bits} bits")
    return change._replace(operations=words, kept_bits=0xFF & (0xFF << (8 - bits)))


OPERATIONS: tuple[Callable[[ColorChange, float], ColorChange], ...] = (
    brightness,
    contrast,
    saturation,
    hue,
    grayscale,
    solarize,
    posterize,
)
"""What is drawn from; a magnitude's sign is up or down."""


def _linear(change: ColorChange, words: str, matrix: Matrix, shift: float = 0) -> ColorChange:
    composed = matrix @ change.matrix
    composed[:, 3] += shift
    return change._replace(operations=(*change.operations, words), matrix=composed)


def _saturation(factor: float) -> Matrix:
    return factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))
