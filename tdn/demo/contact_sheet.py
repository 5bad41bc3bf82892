"""A contact sheet: a row of frames per clip, with its true and its predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tdn.drawing import GREEN, INK, PAPER, RED, save_png, sheet, write

_FRAMES = 6
_ZOOM = 2
_PADDING = 4
_TEXT_HEIGHT = 14


class Cell(NamedTuple):
    """One clip of the sheet."""

    frames: npt.NDArray[np.uint8]
    """(F, H, W, 3) RGB, in order."""
    truth: str
    predictions: Sequence[tuple[str, str]]
    """(network, class it predicts), in the order of the caption."""


def save_contact_sheet(cells: Sequence[Cell], path: Path, columns: int = 2) -> None:
    """Draw clips with their captions into one PNG; right predictions are green, wrong ones red.

    Args:
        cells: Clips, all of one frame size.
        path: PNG to write.
        columns: Clips side by side.

    Raises:
        UserError: The file cannot be written.
    """
    save_png(sheet([_tile(cell) for cell in cells], columns), path)


def _tile(cell: Cell) -> Image.Image:
    count, height, width, _ = cell.frames.shape
    height, width = _ZOOM * height, _ZOOM * width
    chosen = np.linspace(0, count - 1, min(_FRAMES, count)).round().astype(int)
    tile = Image.new(
        "RGB",
        (len(chosen) * (width + 1) + 2 * _PADDING, height + _TEXT_HEIGHT + 3 * _PADDING),
        PAPER,
    )
    words = [(f"{cell.truth}:", INK)]
    for network, predicted in cell.predictions:
        words.append((f"{network} {predicted}", GREEN if predicted == cell.truth else RED))
    write(ImageDraw.Draw(tile), (_PADDING, _PADDING), words, _TEXT_HEIGHT - 3)
    for place, frame in enumerate(chosen):
        picture = Image.fromarray(cell.frames[frame]).resize((width, height))
        tile.paste(picture, (_PADDING + place * (width + 1), _TEXT_HEIGHT + 2 * _PADDING))
    return tile
