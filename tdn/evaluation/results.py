"""What a test leaves behind: scores, metrics, and the accuracy class by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tdn.evaluation.by_class import ByClass
from tdn.evaluation.scores import Scores, save_metrics
from tdn.files import write_atomically
from tdn.training.metrics import TOP5_FROM


def save_results(
    scores: Scores, names: Sequence[str], about: dict[str, Any], listed: int, output: Path
) -> dict[str, Any]:
    """Write all files of a test.

    Args:
        scores: Of its videos.
        names: Of the classes; empty where nothing names them.
        about: What was tested, and with what; becomes part of the metrics.
        listed: Rows of the list, unusable ones included.
        output: Folder to write to.

    Returns:
        The metrics as in metrics.json.

    Raises:
        UserError: The folder cannot be written.
    """
    from tdn.evaluation.confusion import confusion_figure

    by_class = ByClass.of(scores, names)
    videos, views, classes = scores.logits.shape
    metrics = {
        **scores.accuracy(),
        "mean_class_accuracy": by_class.mean_accuracy,
        "videos": videos,
        "listed": listed,
        "left_out": listed - videos,
        "views": views,
        "classes": classes,
        "class_names": list(names),
        **about,
    }
    scores.save(output / "scores.npz")
    by_class.save_table(output / "classes.csv")
    by_class.save_confusion(output / "confusion.csv")
    figure = confusion_figure(by_class)
    write_atomically(output / "confusion.png", lambda file: figure.savefig(file, format="png"))
    save_metrics(output / "metrics.json", metrics)
    return metrics


def in_words(metrics: dict[str, Any], output: Path, seconds: float) -> str:
    """A test's outcome in a line."""
    left_out = metrics["left_out"]
    lost = f" ({left_out} of the list's {metrics['listed']} left out)" if left_out else ""
    counts = [(metrics["clips"], "clip"), (metrics["crops"], "crop")]
    protocol = " x ".join(f"{n} {thing}{'s' if n > 1 else ''}" for n, thing in counts)
    top5 = f", top-5 {metrics['top5']:.2f} %" if metrics["classes"] >= TOP5_FROM else ""
    return (
        f"top-1 {metrics['top1']:.2f} %{top5} on {metrics['videos']} videos{lost}, "
        f"{protocol}, {metrics['videos'] / seconds:.1f} a second; scores in "
        f"{output / 'scores.npz'}"
    )
