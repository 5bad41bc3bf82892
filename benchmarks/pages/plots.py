"""The charts: which results each shows, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.rows import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHERS = "#1f6f8b", "#c9ccd1"
SIZE = (7.0, 3.2)
"""Inches."""


@dataclass(frozen=True)
class Plot:
    """A chart."""

    title: str
    benchmark: str
    paint: Callable[[Axes, Sequence[Result]], None]
    value: str
    """That a result must have."""
    along: str | None = None
    """What must have been varied, if that matters."""
    least: int = 1
    """Results; fewer make no chart."""

    def select(self, results: Sequence[Result]) -> list[Result]:
        """Those of its benchmark that were measured; of several machines the last one's."""
        found = [
            result
            for result in results
            if result.benchmark == self.benchmark
            and self.value in result.values
            and self.along in (None, result.case.get("along"))
        ]
        shown = [result for result in found if result.machine == found[-1].machine]
        return shown if len(shown) >= self.least else []


def draw(plot: Plot, results: Sequence[Result], path: Path, note: str) -> None:
    """Write a chart as SVG; the same results give the same file with the same matplotlib."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    with mpl.rc_context({"svg.hashsalt": "tdn", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
        plot.paint(axes, results)
        where = results[-1].where
        axes.set_title(f"{plot.title}\n{where['device']}, commit {where['commit']}", fontsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.savefig(path, metadata={"Date": None, "Description": note})
        pyplot.close(figure)


def _bars(
    axes: Axes, names: Sequence[str], values: Sequence[float], ours: Sequence[bool], unit: str
) -> None:
    colours = [OURS if mine else OTHERS for mine in ours]
    bars = axes.barh(range(len(names)), values, color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.15)
    _fit(axes, len(names))


def _fit(axes: Axes, bars: int) -> None:
    """Make room for the names of so many bars."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # it has been drawn on
    figure.set_size_inches(SIZE[0], max(SIZE[1], 0.8 + 0.2 * bars))


def _training(axes: Axes, results: Sequence[Result]) -> None:
    _bars(
        axes,
        [_size(result) + result.case["peer"] for result in results],
        [result.values["ratio"] for result in results],
        [result.case["peer"].startswith("ours") for result in results],
        "times as fast as the released code",
    )


def _size(result: Result) -> str:
    case = result.case
    return f"{case['model'].removeprefix('tdn_')}, T={case['segments']}, {case['pixels']} px: "


def _pipeline(axes: Axes, results: Sequence[Result]) -> None:
    _bars(
        axes,
        [
            f"{result.case['source']}, T={result.case['segments']}: {result.case['contestant']}"
            for result in results
        ],
        [result.values["clips_per_s"] for result in results],
        [result.case["contestant"].startswith("ours") for result in results],
        "clips/s",
    )


def _roofline(axes: Axes, results: Sequence[Result]) -> None:
    names = [f"{result.case['peer']}: {result.case['operator']}" for result in results]
    places = range(len(names))
    axes.barh(places, [result.values["ms"] for result in results], color=OTHERS, label="measured")
    ideal = [result.values["ideal_ms"] for result in results]
    axes.barh(places, ideal, color=OURS, height=0.4, label="what the device allows")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel("ms in a training step")
    axes.legend(frameon=False)
    _fit(axes, len(names))


def _from_files(axes: Axes, results: Sequence[Result]) -> None:
    _bars(
        axes,
        [f"{_size(result)}{result.case['source']}, {result.case['cache']}" for result in results],
        [result.values["stall_percent"] for result in results],
        [True for _ in results],
        "stall, % of a step from files",
    )
    axes.axvline(0, color="black", linewidth=0.8)


def _growth(axes: Axes, results: Sequence[Result]) -> None:
    for along in ("clips", "segments", "pixels"):
        mine = [result for result in results if result.case["along"] == along]
        if not mine:
            continue
        smallest = mine[0].values["ms"]
        first = mine[0].case[along]
        axes.plot(
            [result.case[along] / first for result in mine],
            [result.values["ms"] / smallest for result in mine],
            marker="o",
            label=f"{along}, from {first}",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("times as many")
    axes.set_ylabel("times as long")
    axes.legend(frameon=False)


def _memory(axes: Axes, results: Sequence[Result]) -> None:
    for name, label in (("kept_mb", "kept for the backward pass"), ("peak_mb", "peak")):
        mine = [result for result in results if name in result.values]
        if mine:
            segments = [result.case["segments"] for result in mine]
            axes.plot(segments, [result.values[name] for result in mine], marker="o", label=label)
    axes.set_xlabel("segments, T")
    axes.set_ylabel("MB")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _workers(axes: Axes, results: Sequence[Result]) -> None:
    workers = [result.case["workers"] for result in results]
    axes.plot(workers, [result.values["clips_per_s"] for result in results], marker="o", color=OURS)
    axes.set_xticks(workers)
    axes.set_xlabel("threads of the loader")
    axes.set_ylabel("clips/s")
    axes.set_ylim(bottom=0)


def _manifest(axes: Axes, results: Sequence[Result]) -> None:
    names = {"write_s": "write", "open_s": "open", "first_epoch_s": "first plan of an epoch"}
    for name, label in names.items():
        shown = [result for result in results if result.values[name] > 0]
        clips = [result.case["clips"] for result in shown]
        axes.plot(clips, [result.values[name] for result in shown], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("clips")
    axes.set_ylabel("s")
    axes.legend(frameon=False)


def _scaling(axes: Axes, results: Sequence[Result]) -> None:
    for kind, marker, colour in (("projected", "", "#888888"), ("measured", "o", OURS)):
        mine = [
            result
            for result in results
            if result.case["row"] == kind and result.case["scaling"] == "weak"
        ]
        axes.plot(
            [result.case["processes"] for result in mine],
            [100 * result.values["efficiency"] for result in mine],
            marker=marker,
            color=colour,
            label=kind,
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("processes")
    axes.set_ylabel("% of the speed of one alone")
    axes.set_ylim(0, 110)
    axes.legend(frameon=False)


PLOTS = {
    "training": Plot("Training steps", "training", _training, "ratio"),
    "pipeline": Plot("Clips for the network", "pipeline", _pipeline, "clips_per_s"),
    "roofline": Plot(
        "Largest gaps of a training step", "roofline", _roofline, "gap_percent_of_step"
    ),
    "from-files": Plot("Training from files", "from_files", _from_files, "stall_percent", least=2),
    "growth": Plot("Time of a training step", "growth", _growth, "ms"),
    "memory": Plot(
        "Memory of a training step", "growth", _memory, "kept_mb", along="segments", least=2
    ),
    "workers": Plot(
        "Clips by the loader", "growth", _workers, "clips_per_s", along="workers", least=2
    ),
    "manifest": Plot("Manifests", "manifest", _manifest, "write_s", least=2),
    "scaling": Plot("Weak scaling", "scaling", _scaling, "efficiency"),
}
