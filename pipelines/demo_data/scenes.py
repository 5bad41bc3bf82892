"""How things move: for each motion a random scene, in which every path is a number per frame.

The picture is 128 units wide and 96 high, x to the right, y down; angles are radians, clockwise.
How many pixels a unit has is the renderer's affair.

Only the forward member of a pair is made here; the other one is the same frames in reverse. A
left-right mirrored pair needs more: its distribution of paths is symmetric under a flip together
with a reversal of time, so that "left" is "right" reversed as well as "right" mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

WIDTH, HEIGHT = 128, 96
FRAMES = 40

Path = np.ndarray  # (FRAMES,) float64


@dataclass
class Actor:
    """Something in the scene: its size and its path. ``scale`` multiplies the radius."""

    radius: float
    x: Path
    y: Path
    angle: Path = field(default_factory=lambda: np.zeros(FRAMES))
    scale: Path = field(default_factory=lambda: np.ones(FRAMES))
    look: Literal["sticker", "wide sticker", "shadow"] = "sticker"


@dataclass
class Scene:
    """Actors from back to front in world coordinates, and where the camera is at each frame."""

    actors: list[Actor]
    camera_x: Path = field(default_factory=lambda: np.zeros(FRAMES))
    camera_y: Path = field(default_factory=lambda: np.zeros(FRAMES))


def sample_scene(rng: np.random.Generator, motion: str) -> Scene:
    """A random scene with this motion (one of ``MOTIONS``), bystanders and a shaking camera."""
    scene = MOTIONS[motion](rng)
    scene.actors[:0] = [_bystander(rng) for _ in range(rng.integers(0, 3))]
    scene.camera_x += _shake(rng)
    scene.camera_y += _shake(rng)
    return scene


def _progress(rng: np.random.Generator) -> Path:
    """From 0 to 1: rest, move with more or less easing, rest."""
    rest_before, rest_after = rng.uniform(0, 6, size=2)
    time = (np.arange(FRAMES) - rest_before) / (FRAMES - 1 - rest_before - rest_after)
    time = np.clip(time, 0, 1)
    ease = rng.uniform(0, 1)
    return (1 - ease) * time + ease * time**2 * (3 - 2 * time)


def _shake(rng: np.random.Generator) -> Path:
    """A hand-held camera's sway: up to 1.4 units either way."""
    time = np.arange(FRAMES) / FRAMES
    slow, fast = (
        np.sin(2 * np.pi * (rng.uniform(*cycles) * time + rng.uniform()))
        for cycles in ((0.7, 1.5), (1.5, 4.0))
    )
    return rng.uniform(0, 0.9) * slow + rng.uniform(0, 0.5) * fast


def _still(value: float) -> Path:
    return np.full(FRAMES, value)


def _around(rng: np.random.Generator, middle: float, spread: float) -> float:
    return middle + rng.uniform(-spread, spread)


def _bystander(rng: np.random.Generator) -> Actor:
    """A small thing that has nothing to do with the class and bobs in place."""
    bob = np.sin(2 * np.pi * (rng.uniform(0.5, 2) * np.arange(FRAMES) / FRAMES + rng.uniform()))
    return Actor(
        radius=rng.uniform(5, 8),
        x=_still(rng.uniform(6, WIDTH - 6)),
        y=rng.uniform(8, HEIGHT - 8) + rng.uniform(0, 1.5) * bob,
        angle=_still(rng.uniform(0, 2 * np.pi)),
    )


def _slide(rng: np.random.Generator) -> Scene:
    """One thing crosses the picture to the right."""
    step = _progress(rng) - 0.5
    return Scene(
        [
            Actor(
                radius=rng.uniform(14, 22),
                x=_around(rng, WIDTH / 2, 6) + rng.uniform(48, 76) * step,
                y=_around(rng, HEIGHT / 2, 18) + rng.uniform(-8, 8) * step,
                angle=_still(rng.uniform(0, 2 * np.pi)),
            )
        ]
    )


def _lift(rng: np.random.Generator) -> Scene:
    """One thing leaves the ground; its shadow stays there and shrinks."""
    step = _progress(rng)
    radius = rng.uniform(13, 18)
    ground = HEIGHT - radius - rng.uniform(6, 12)
    x = rng.uniform(32, WIDTH - 32)
    thing = Actor(
        radius=radius,
        x=x + rng.uniform(-5, 5) * (step - 0.5),
        y=ground - rng.uniform(32, 46) * step,
        angle=_still(rng.uniform(0, 2 * np.pi)),
    )
    shadow = Actor(
        radius=1.05 * radius,
        x=_still(x),
        y=_still(ground + 0.95 * radius),
        scale=1 - 0.35 * step,
        look="shadow",
    )
    return Scene([shadow, thing])


def _rotate(rng: np.random.Generator) -> Scene:
    """One large thing turns clockwise in place."""
    return Scene(
        [
            Actor(
                radius=rng.uniform(24, 33),
                x=_still(_around(rng, WIDTH / 2, 18)),
                y=_still(_around(rng, HEIGHT / 2, 8)),
                angle=rng.uniform(0, 2 * np.pi) + rng.uniform(2.0, 3.6) * _progress(rng),
            )
        ]
    )


def _gather(rng: np.random.Generator) -> Scene:
    """Two things approach each other until they nearly touch."""
    radii = rng.uniform(11, 16), rng.uniform(11, 16)
    nearest = (sum(radii) + rng.uniform(0, 4)) / 2
    distance = nearest + rng.uniform(22, 32) * (1 - _progress(rng))
    axis = rng.uniform(-0.5, 0.5)
    x, y = _around(rng, WIDTH / 2, 8), _around(rng, HEIGHT / 2, 10)
    return Scene(
        [
            Actor(
                radius=radius,
                x=x + sign * distance * np.cos(axis),
                y=y + sign * distance * np.sin(axis),
                angle=_still(rng.uniform(0, 2 * np.pi)),
            )
            for radius, sign in zip(radii, (-1, 1), strict=True)
        ]
    )


def _orbit(rng: np.random.Generator) -> Scene:
    """A small thing travels clockwise around a larger one."""
    angle = rng.uniform(0, 2 * np.pi) + rng.uniform(3.4, 5.4) * _progress(rng)
    x, y = _around(rng, WIDTH / 2, 10), _around(rng, HEIGHT / 2, 4)
    centre = Actor(
        radius=rng.uniform(13, 17),
        x=_still(x),
        y=_still(y),
        angle=_still(rng.uniform(0, 2 * np.pi)),
    )
    satellite = Actor(
        radius=rng.uniform(8.5, 11.5),
        x=x + rng.uniform(34, 44) * np.cos(angle),
        y=y + rng.uniform(27, 32) * np.sin(angle),
        angle=_still(rng.uniform(0, 2 * np.pi)),
    )
    return Scene([centre, satellite])


def _pan(rng: np.random.Generator) -> Scene:
    """The camera turns to the right: everything glides to the left."""
    things = [
        Actor(
            radius=rng.uniform(9, 18),
            x=_still(rng.uniform(-30, WIDTH + 30)),
            y=_still(rng.uniform(14, HEIGHT - 14)),
            angle=_still(rng.uniform(0, 2 * np.pi)),
        )
        for _ in range(rng.integers(1, 4))
    ]
    step = _progress(rng) - 0.5
    return Scene(things, camera_x=rng.uniform(52, 80) * step, camera_y=rng.uniform(-6, 6) * step)


def _approach(rng: np.random.Generator) -> Scene:
    """One thing comes closer: it grows, by the same factor in the same time."""
    growth = rng.uniform(2.1, 2.8) ** (_progress(rng) - 0.5)
    return Scene(
        [
            Actor(
                radius=rng.uniform(17, 21),
                x=_still(_around(rng, WIDTH / 2, 16)),
                y=_still(_around(rng, HEIGHT / 2, 8)),
                angle=_still(rng.uniform(0, 2 * np.pi)),
                scale=growth,
            )
        ]
    )


def _cover(rng: np.random.Generator) -> Scene:
    """One thing slides in front of another until nothing of it can be seen."""
    radius = rng.uniform(13, 16)
    x, y = _around(rng, WIDTH / 2, 10), _around(rng, HEIGHT / 2, 7)
    direction = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(44, 54) * (1 - _progress(rng))
    hidden = Actor(radius=radius, x=_still(x), y=_still(y), angle=_still(rng.uniform(0, 2 * np.pi)))
    cover = Actor(
        radius=1.5 * radius,
        x=x + distance * np.cos(direction),
        y=y + 0.75 * distance * np.sin(direction),
        angle=_still(rng.uniform(0, 2 * np.pi)),
        look="wide sticker",
    )
    return Scene([hidden, cover])


MOTIONS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "slide": _slide,
    "lift": _lift,
    "rotate": _rotate,
    "gather": _gather,
    "orbit": _orbit,
    "pan": _pan,
    "approach": _approach,
    "cover": _cover,
}
