"""What the pictures have in common: colours, lines of text, tiles on a sheet, PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tdn.files import write_atomically

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK: Colour = (30, 30, 30)
FAINT: Colour = (120, 120, 120)
PAPER: Colour = (255, 255, 255)
GREEN: Colour = (46, 160, 67)
RED: Colour = (207, 34, 46)
BLUE: Colour = (9, 105, 218)


@cache
def font(size: int) -> Font:
    """The font of all texts; size in pixels."""
    return ImageFont.load_default(size=size)


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: Sequence[tuple[str, Colour]],
    size: int,
    gap: int = 8,
) -> None:
    """Write words in their colours on one line, from the left.

    Args:
        draw: What to write on.
        at: x, y of the line's upper left corner, pixels.
        words: Texts and their colours.
        size: Height of the font, pixels.
        gap: Space between words, pixels.
    """
    x, y = at
    for text, colour in words:
        draw.text((x, y), text, fill=colour, font=font(size))
        x += draw.textlength(text, font=font(size)) + gap


def shortened(text: str, width: float, size: int) -> str:
    """The text, or as much of its end as fits into a width in pixels, after three dots."""
    if font(size).getlength(text) <= width:
        return text
    kept = range(1, len(text))
    return next(
        (s for s in (f"...{text[i:]}" for i in kept) if font(size).getlength(s) <= width), ""
    )


def sheet(tiles: Sequence[Image.Image], columns: int = 1) -> Image.Image:
    """Tiles on a grid of equal cells, row by row."""
    width, height = (max(tile.size[axis] for tile in tiles) for axis in (0, 1))
    rows = -(-len(tiles) // columns)
    picture = Image.new("RGB", (columns * width, rows * height), PAPER)
    for index, tile in enumerate(tiles):
        picture.paste(tile, (index % columns * width, index // columns * height))
    return picture


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture whole, or leave what was there.

    Raises:
        UserError: The file cannot be written.
    """
    write_atomically(path, lambda file: picture.save(file, format="PNG"), "choose another file")
