"""The motion classes: their names, who is whose time reversal, who is whose mirror image."""

from __future__ import annotations

from dataclasses import dataclass

CLASS_COUNTS = (12, 16)
"""Sizes of the data set; the 16 classes are the 12 and four harder ones."""


@dataclass(frozen=True)
class MotionClass:
    """One class: a motion played forwards or backwards.

    ``pair`` is the label of the class that shows the same motion in the other direction of time,
    ``mirror`` the label of the class that a clip belongs to after a left-right flip.
    """

    label: int
    name: str
    motion: str
    backwards: bool
    pair: int
    mirror: int


# (motion, name forwards, name backwards, whether a left-right flip exchanges the two names)
_MOTIONS = (
    ("slide", "moving right", "moving left", True),
    ("lift", "lifting up", "putting down", False),
    ("rotate", "rotating clockwise", "rotating counterclockwise", True),
    ("gather", "coming together", "moving apart", False),
    ("orbit", "orbiting clockwise", "orbiting counterclockwise", True),
    ("pan", "camera panning right", "camera panning left", True),
    ("approach", "coming closer", "going away", False),
    ("cover", "covering", "uncovering", False),
)


def motion_classes(count: int) -> list[MotionClass]:
    """The first ``count`` classes in label order; labels 2k and 2k+1 are a pair."""
    classes = []
    for label in range(count):
        motion, forwards, backwards, mirrored = _MOTIONS[label // 2]
        name = backwards if label % 2 else forwards
        pair = label ^ 1
        classes.append(
            MotionClass(label, name, motion, bool(label % 2), pair, pair if mirrored else label)
        )
    return classes


def flip_labels(classes: list[MotionClass]) -> dict[int, int]:
    """Label changes under a left-right flip, in the form of the key ``data.flip_labels``."""
    return {each.label: each.mirror for each in classes if each.mirror != each.label}
