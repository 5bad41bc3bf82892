"""A look applied inside a DALI graph: the same operations on a GPU and on the CPU.

Frames stay uint8. They may be a video (FHWC) or a single picture (HWC), so graphs of both share
this; nothing of it is in a graph that has no use for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn, types

from tdn.config import DataConfig
from tdn.pipelines.sampling.photometric import FILL, Look

_COLOR = (
    ("matrix", types.FLOAT, 2),  # (3, 4)
    ("tones", types.UINT8, 1),  # value from which to invert, bits to invert, bits to keep
    ("ways", types.BOOL, 1),  # whether the matrix mixes channels; whether tones change
)
_ERASING = (("erased", types.FLOAT, 1),)  # y, x, height, width


class Effects(NamedTuple):
    """Which looks a graph can give."""

    color: bool = False
    erasing: bool = False

    @classmethod
    def of(cls, data: DataConfig) -> Effects:
        """Those that a training with these settings needs."""
        return cls(data.color_ops > 0, data.erasing > 0)

    @property
    def inputs(self) -> tuple[tuple[str, Any, int], ...]:
        """The graph's inputs for them: name, type and dimensions of one sample's array."""
        return (*(_COLOR * self.color), *(_ERASING * self.erasing))


NO_EFFECTS = Effects()


def look_values(look: Look) -> tuple[npt.NDArray[Any], ...]:
    """The arrays of ``Effects.inputs`` for one sample."""
    values: tuple[npt.NDArray[Any], ...] = ()
    if look.color is not None:
        color = look.color
        inverts = color.inverted_from < 256
        tones = (color.inverted_from, 255, color.kept_bits) if inverts else (0, 0, color.kept_bits)
        values += (
            color.matrix.astype(np.float32),
            np.array(tones, np.uint8),
            np.array((color.mixes, inverts or color.kept_bits < 255)),
        )
    if look.erased is not None:
        values += (np.array(look.erased, np.float32),)
    return values


def photometric(frames: Any, values: list[Any], effects: Effects) -> Any:
    """Give frames their look.

    Args:
        frames: Node of uint8 frames with layout FHWC or HWC, of the network's input size.
        values: Nodes of ``effects.inputs``.
        effects: What the graph can do.

    Returns:
        A node like ``frames``.
    """
    if effects.color:
        frames = _recoloured(frames, *values[:3])
    if effects.erasing:
        box = values[-1]
        frames = fn.erase(frames, anchor=box[0:2], shape=box[2:4], axis_names="HW", fill_value=FILL)
    return frames


def _recoloured(frames: Any, matrix: Any, tones: Any, ways: Any) -> Any:
    if ways[0]:
        frames = fn.coord_transform(frames, MT=matrix, dtype=types.UINT8)
    else:  # on the CPU twenty times as fast
        frames = fn.brightness_contrast(
            frames, brightness=matrix[0, 0], brightness_shift=matrix[0, 3] / 255.0
        )
    if ways[1]:
        frames = (frames ^ (frames >= tones[0]) * tones[1]) & tones[2]  # one pass, in uint8
    return frames
