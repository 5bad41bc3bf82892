"""Putting the report's page together."""

from __future__ import annotations

import base64
import io
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

import tdn
from tdn.evaluation.certainty import accuracy_in_words, percent
from tdn.evaluation.confusion import confusion_figure
from tdn.files import write_text_atomically
from tdn.report.charts import draw_charts
from tdn.report.examples import make_examples
from tdn.report.record import RunRecord, read_run
from tdn.training.metrics import TOP5_FROM

HARDEST = 10
"""Classes in the table of the hardest ones."""


def write_report(folder: Path, output: Path, examples: int = 6, device: str = "auto") -> list[str]:
    """Write a page about a run.

    Args:
        folder: The run's.
        output: .html file to write.
        examples: Videos to draw, at most.
        device: "auto", "cpu" or "cuda": where the activation maps are computed.

    Returns:
        In a line each, what could not be shown.

    Raises:
        UserError: It is no run folder, or the file cannot be written.
    """
    run = read_run(folder)
    shown, problems = make_examples(run, examples, device)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(
        files("tdn.report").joinpath("page.html").read_text(encoding="utf-8")
    )
    text = template.render(
        run=run,
        name=folder.resolve().name,
        accuracy=_accuracy(run),
        tiles=_tiles(run),
        charts=draw_charts(run),
        confusion=_confusion(run),
        classes=_classes(run),
        hardest=[] if run.by_class is None else run.by_class.hardest(HARDEST),
        examples=shown,
        problems=problems,
        environment=_environment(run),
        skipped=run.of("skipped"),
        sessions=run.of("start"),
        written=time.strftime("%Y-%m-%d %H:%M"),
        version=tdn.__version__,
    )
    write_text_atomically(output, text)
    return problems


def _accuracy(run: RunRecord) -> str:
    """What the evaluation came to, in a sentence; empty if there was none."""
    if run.metrics is None or run.scores is None:
        return ""
    return accuracy_in_words(run.metrics, run.scores.labels)


def _tiles(run: RunRecord) -> list[tuple[str, str, str]]:
    """The numbers at the top: name, value, and what it is of."""
    found = []
    if run.metrics is not None:
        videos, views = run.metrics["videos"], run.metrics["views"]
        of = f"{_count(videos, 'video')}, {_count(views, 'view')} each"
        found.append(("top-1", percent(run.metrics["top1"], videos), of))
        if run.metrics["classes"] >= TOP5_FROM:
            found.append(("top-5", percent(run.metrics["top5"], videos), of))
    if run.by_class is not None:
        mean = percent(run.by_class.mean_accuracy, int(run.by_class.videos.sum()))
        found.append(("mean class accuracy", mean, ""))
    validations = run.of("validation")
    if validations:
        best = max(validations, key=lambda event: event["top1"])
        top1 = percent(best["top1"], best["clips"])
        found.append(("best validation top-1", top1, f"epoch {best['epoch']}"))
    trained = run.of("train")
    if trained:
        took = [event["clips"] / event["clips_per_second"] for event in trained]
        clips, seconds = sum(event["clips"] for event in trained), sum(took)
        waited = sum(e["data_wait"] * s for e, s in zip(trained, took, strict=True)) / seconds
        processes = _count(run.start["world_size"], "process", "processes")
        found += [
            ("speed", f"{clips / seconds:.1f} clips/s", processes),
            ("waiting for data", f"{waited:.1f} %", "of the training time"),
            ("training time", _duration(seconds), "without validation"),
        ]
        memory = [event["memory"] for event in trained if event.get("memory") is not None]
        if memory:
            found.append(("memory", f"{max(memory):.1f} GB", "most on a process"))
    return found


def _count(number: int, thing: str, things: str = "") -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _confusion(run: RunRecord) -> str:
    """The confusion matrix as the data of a PNG in base 64; empty without an evaluation."""
    if run.by_class is None:
        return ""
    png = io.BytesIO()
    confusion_figure(run.by_class).savefig(png, format="png")
    return base64.b64encode(png.getvalue()).decode()


def _classes(run: RunRecord) -> list[dict[str, Any]]:
    """The table of the classes."""
    found = run.by_class
    if found is None:
        return []
    rows = []
    for label, name in enumerate(found.names):
        other = found.confused_with(label)
        rows.append(
            {
                "label": label,
                "name": name,
                "videos": int(found.videos[label]),
                "top1": float(found.accuracy[label]) if found.videos[label] else None,
                "other": "" if other is None else found.names[other],
                "mistaken": 0 if other is None else int(found.confusion[label, other]),
            }
        )
    return rows


def _environment(run: RunRecord) -> dict[str, str]:
    start = run.start
    versions = start.get("versions", {})
    known = {
        "device": start["device"],
        "processes": start["world_size"],
        "precision": start["precision"],
        "optimizer": f"{start['optimizer']} by {start['optimizer_backend']}",
        "clips a step": start["global_batch"],
        "parameters": f"{start['parameters']:,}",
        "pretrained": start.get("pretrained") or "no",
    }
    return {key: str(value) for key, value in {**known, **versions}.items()}
