"""The picture of a batch: a row per clip, with all its frames and where they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tdn.drawing import (
    BLUE,
    FAINT,
    INK,
    PAPER,
    RED,
    Colour,
    font,
    sheet,
    shortened,
    write,
)

_TEXT, _NUMBERS = 12, 10  # heights of the fonts, pixels
_MARGIN, _GAP = 8, 10  # around a row; between segments
_WIDEST = 2800  # of a line of segments; longer ones are broken evenly
_FRAME: Colour = (255, 140, 0)


class Row(NamedTuple):
    """One clip of the picture."""

    frames: npt.NDArray[np.uint8]
    """(T, F, H, W, 3) RGB, as the network is fed them."""
    numbers: npt.NDArray[np.int64]
    """(T, F) frame numbers in the video."""
    label: str
    file: str
    cut: str
    """In words, where the frames were cut from the video's."""
    frame_size: tuple[int, int]
    """Height and width of the video's frames."""
    box: tuple[float, float, float, float]
    """y0, x0, y1, x1 of what was cut out, in pixels of the video's frames."""
    mirrored: bool


def batch_sheet(rows: Sequence[Row], side: int) -> Image.Image:
    """Draw the rows below each other.

    Args:
        rows: The clips.
        side: Longest side of a drawn frame, pixels. Larger frames are reduced by the smallest whole
            factor, smaller ones are drawn pixel by pixel.
    """
    return sheet([_row(row, side) for row in rows])


def _row(row: Row, side: int) -> Image.Image:
    """Two lines of text, then the map of the crop and the segments, in one line or several."""
    segments, count, height, width = row.frames.shape[:4]
    factor = -(-max(height, width) // side)
    height, width = -(-height // factor), -(-width // factor)
    across = count * (width + 2) + _GAP
    down = height + 2 + _NUMBERS + 6
    top, left = _MARGIN + 2 * (_TEXT + 6), _MARGIN + _map_width(row, height) + 2 * _GAP
    lines = -(-segments * across // _WIDEST)
    in_line = -(-segments // lines)
    width_of_text = math.ceil(font(_TEXT).getlength(row.cut))
    size = (
        max(left + in_line * across, _MARGIN + width_of_text) + _MARGIN,
        top + lines * down + _MARGIN,
    )
    tile = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(tile)
    room = tile.width - 2 * _MARGIN - font(_TEXT).getlength(row.label) - _GAP
    title = [(row.label, BLUE), (shortened(row.file, room, _TEXT), INK)]
    write(draw, (_MARGIN, _MARGIN), title, _TEXT, _GAP)
    write(draw, (_MARGIN, _MARGIN + _TEXT + 6), [(row.cut, FAINT)], _TEXT)
    _draw_map(draw, row, (_MARGIN, top + 1), height)
    for segment in range(segments):
        x, y = left + segment % in_line * across, top + segment // in_line * down
        _draw_segment(tile, draw, row.frames[segment], row.numbers[segment], (x, y), factor)
    return tile


def _draw_segment(
    tile: Image.Image,
    draw: ImageDraw.ImageDraw,
    frames: npt.NDArray[np.uint8],
    numbers: npt.NDArray[np.int64],
    at: tuple[int, int],
    factor: int,
) -> None:
    """A segment's frames, a pixel apart, with their numbers below; the centre frame in a frame."""
    x, y = at
    for place, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        thumbnail = Image.fromarray(frame).reduce(factor)
        width, height = thumbnail.size
        is_centre = place == len(frames) // 2
        if is_centre:
            draw.rectangle((x, y, x + width + 1, y + height + 1), outline=_FRAME)
        tile.paste(thumbnail, (x + 1, y + 1))
        middle = x + 1 + (width - draw.textlength(str(number), font=font(_NUMBERS))) / 2
        words = [(str(number), _FRAME if is_centre else FAINT)]
        write(draw, (middle, y + height + 3), words, _NUMBERS)
        x += width + 2


def _map_width(row: Row, height: int) -> int:
    rows, columns = row.frame_size
    return max(1, round(height * columns / rows))


def _draw_map(draw: ImageDraw.ImageDraw, row: Row, at: tuple[int, int], height: int) -> None:
    """The video's frame in small, and in it what was cut out; an arrow where it is mirrored."""
    x, y = at
    scale = height / row.frame_size[0]
    draw.rectangle(
        (x, y, x + _map_width(row, height) - 1, y + height - 1), fill=(235, 235, 235), outline=FAINT
    )
    y0, x0, y1, x1 = (edge * scale for edge in row.box)
    draw.rectangle((x + x0, y + y0, x + x1 - 1, y + y1 - 1), outline=BLUE, width=2)
    if row.mirrored:
        middle, left, right = y + (y0 + y1) / 2, x + x0 + 6, x + x1 - 7
        draw.line((left, middle, right, middle), fill=RED, width=2)
        draw.polygon(((left, middle - 4), (left, middle + 4), (left - 4, middle)), fill=RED)
