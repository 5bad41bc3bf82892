"""The confusion matrix as a picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from tdn.drawing import shortened
from tdn.evaluation.by_class import ByClass

_MOST_NAMES = 60
"""Classes up to which the axes name them; more are told by number."""
_MOST_NUMBERS = 20
"""Classes up to which the cells say how many videos they are."""


def confusion_figure(results: ByClass) -> Figure:
    """Draw the share of each class's videos (row) that are taken for each class (column)."""
    count = len(results.names)
    side = min(4 + 0.28 * count, 16)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    shares = 100 * results.confusion / results.videos[:, None].clip(1)
    image = axes.imshow(shares, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, shrink=0.6, label="% of the class's videos")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("class")
    axes.set_title(f"mean class accuracy {results.mean_accuracy:.1f} %")
    if count <= _MOST_NAMES:
        names = [shortened(name, 180, 10) for name in results.names]
        axes.set_xticks(range(count), names, rotation=90, fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
    if count <= _MOST_NUMBERS:
        for row, column in zip(*results.confusion.nonzero(), strict=True):
            colour = "black" if shares[row, column] > 60 else "white"
            number = str(results.confusion[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    return figure
