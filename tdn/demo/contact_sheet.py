"""A contact sheet: a row of frames per clip, with its true and its predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_FRAMES = 6
_ZOOM = 2
_PADDING = 4
_TEXT_HEIGHT = 14
_RIGHT, _WRONG, _INK, _PAPER = (46, 160, 67), (207, 34, 46), (30, 30, 30), (255, 255, 255)


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
    """
    tiles = [_tile(cell) for cell in cells]
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), _PAPER)
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    sheet.save(path)


def _tile(cell: Cell) -> Image.Image:
    count, height, width, _ = cell.frames.shape
    height, width = _ZOOM * height, _ZOOM * width
    chosen = np.linspace(0, count - 1, min(_FRAMES, count)).round().astype(int)
    tile = Image.new(
        "RGB",
        (len(chosen) * (width + 1) + 2 * _PADDING, height + _TEXT_HEIGHT + 3 * _PADDING),
        _PAPER,
    )
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(size=_TEXT_HEIGHT - 3)
    x = float(_PADDING)
    words = [(f"{cell.truth}:", _INK)]
    for network, predicted in cell.predictions:
        words.append((f"{network} {predicted}", _RIGHT if predicted == cell.truth else _WRONG))
    for text, colour in words:
        draw.text((x, _PADDING), text, fill=colour, font=font)
        x += draw.textlength(text, font=font) + 2 * _PADDING
    for place, frame in enumerate(chosen):
        picture = Image.fromarray(cell.frames[frame]).resize((width, height))
        tile.paste(picture, (_PADDING + place * (width + 1), _TEXT_HEIGHT + 2 * _PADDING))
    return tile
