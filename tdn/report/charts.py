"""A run's curves as pictures of lines (SVG)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from tdn.report.record import RunRecord

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is small
    "svg.hashsalt": "tdn",  # the same bytes every time
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_MARKED = 40
"""Points up to which each is marked."""


class Line(NamedTuple):
    """A line of a chart."""

    name: str
    kind: str
    """Of the events it is made of."""
    field: str


class Chart(NamedTuple):
    """Lines over epochs."""

    title: str
    lines: Sequence[Line]
    log_scale: bool = False


CHARTS = (
    Chart("loss", [Line("training", "train", "loss"), Line("validation", "validation", "loss")]),
    Chart(
        "top-1, %", [Line("training", "train", "top1"), Line("validation", "validation", "top1")]
    ),
    Chart("clips per second", [Line("all processes", "train", "clips_per_second")]),
    Chart("waiting for data, % of the time", [Line("training", "train", "data_wait")]),
    Chart("learning rate", [Line("training", "train", "lr")], log_scale=True),
    Chart("L2 norm of the gradients", [Line("training", "train", "gradient_norm")], log_scale=True),
)


def draw_charts(run: RunRecord) -> list[tuple[str, str]]:
    """Each chart that there is something to show of: its title, and the SVG element."""
    drawn = [(chart.title, _draw(chart, run)) for chart in CHARTS]
    return [(title, svg) for title, svg in drawn if svg]


def _draw(chart: Chart, run: RunRecord) -> str:
    curves = {line.name: _points(line, run) for line in chart.lines}
    values = [value for points in curves.values() for _, value in points]
    if not values:
        return ""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for name, points in curves.items():
            if points:
                marker = "o" if len(points) <= _MARKED else ""
                axes.plot(*zip(*points, strict=True), label=name, marker=marker, markersize=3)
        axes.set_xlabel("epoch")
        if chart.log_scale and min(values) > 0:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if len(axes.lines) > 1:
            axes.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _points(line: Line, run: RunRecord) -> list[tuple[float, float]]:
    """Epochs and values; without those that were not finite, or that an older version lacks."""
    steps = run.start["steps_per_epoch"]
    found = [(event["step"] / steps, event.get(line.field)) for event in run.of(line.kind)]
    return [(epoch, float(value)) for epoch, value in found if value is not None]
