"""Boxes, arrows and lines of text: what drawings of a network consist of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tdn.files import write_atomically

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "svg.hashsalt": "tdn",  # the same bytes every time
    "font.family": "sans-serif",
}
"""What a drawing is made and saved under."""
EDGE = "#5b6670"
LINE = 1.7
"""From a line of text to the next one, units."""
Point = tuple[float, float]


class Canvas:
    """A drawing whose unit is a tenth of an inch.

    Args:
        width: Of the drawing.
        above: Its height above zero.
        below: Its height below zero.
    """

    def __init__(self, width: float, above: float, below: float = 0) -> None:
        self.figure = Figure(figsize=(width / 10, (above + below) / 10))
        limits: Any = {"xlim": (0, width), "ylim": (-below, above)}
        self._axes = self.figure.add_axes((0, 0, 1, 1), **limits)
        self._axes.set_axis_off()

    def box(self, centre: Point, size: Point, lines: Sequence[str], colour: str) -> None:
        """A box with lines of text, the first of them its title."""
        (x, y), (width, height) = centre, size
        corner, style = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.8"
        patch = FancyBboxPatch(corner, width, height, boxstyle=style, fc=colour, ec=EDGE, lw=0.9)
        self._axes.add_patch(patch)
        for number, line in enumerate(lines):
            at = x, y + LINE * ((len(lines) - 1) / 2 - number)
            self.text(at, line, weight="normal" if number else "bold")

    def text(self, at: Point, line: str, **how: Any) -> None:
        """A line of text around a point."""
        self._axes.text(*at, line, **{"ha": "center", "va": "center", "fontsize": 7.5, **how})

    def arrow(self, *points: Point) -> None:
        """A line through points, with a head at the last."""
        *before, tail, head = points
        self._axes.plot(*zip(*before, tail, strict=True), color=EDGE, lw=0.9)
        arrow = {"arrowstyle": "-|>", "color": EDGE, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
        self._axes.annotate("", head, tail, arrowprops=arrow)

    def operator(self, at: Point, sign: str) -> None:
        """A circle with a sign in it."""
        self._axes.plot(*at, "o", ms=14, mfc="white", mec=EDGE, mew=0.9, zorder=3)
        self.text(at, sign, fontsize=10, zorder=4)


def save_drawing(figure: Figure, path: Path) -> None:
    """Write a drawing whole, or leave what was there; its name's end says the format.

    Raises:
        UserError: The file cannot be written.
    """
    kind = path.suffix[1:].lower()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context(STYLE):
        write_atomically(
            path,
            lambda file: figure.savefig(file, format=kind, dpi=150, metadata=undated),
            "choose another file",
        )
