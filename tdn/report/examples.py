"""Videos that show what a network does well and what it does not, with activation maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.evaluation.by_class import ByClass
from tdn.evaluation.scores import Scores
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sources.listing import read_class_names
from tdn.report.record import RunRecord
from tdn.visualization.cam_sheet import cam_sheet
from tdn.visualization.explanation import Explainer


class Example(NamedTuple):
    """One video."""

    name: str
    truth: str
    predicted: str
    probability: float
    """Of the predicted class, 0 to 1."""
    picture: str
    """The maps, as the data of a PNG in base 64."""

    @property
    def right(self) -> bool:
        """Whether it is predicted as it is labelled."""
        return self.truth == self.predicted


def choose(scores: Scores, count: int) -> list[int]:
    """Places in the scores of videos worth seeing.

    Half are the most certain mistakes, each of another class; the others are right, of other
    classes again as far as there are any, the most certain ones.
    """
    probabilities = scores.probabilities()
    predicted, certain = probabilities.argmax(1), probabilities.max(1)
    right = predicted == scores.labels
    order = np.argsort(-certain, kind="stable")
    mistakes = _of_different_classes([i for i in order if not right[i]], scores.labels)
    chosen = mistakes[: (count + 1) // 2 if right.any() else count]
    rest = _of_different_classes([i for i in order if right[i]], scores.labels)
    return [*chosen, *rest[: count - len(chosen)]]


def make_examples(run: RunRecord, count: int, device: str) -> tuple[list[Example], list[str]]:
    """Draw examples from the videos of a run's evaluation.

    Args:
        run: With scores.
        count: How many, at most.
        device: "auto", "cpu" or "cuda".

    Returns:
        The examples, and in a line each why others could not be drawn.
    """
    if run.scores is None or run.by_class is None or run.metrics is None or not count:
        return [], []
    config = load_config(run.folder / "config.yaml")
    raw = not run.metrics.get("averaged_weights", True)
    try:
        manifest = _manifest(config, run.metrics["validation_list"])
        explainer = Explainer(_checkpoint(run.folder, run.metrics), config, raw=raw, device=device)
    except UserError as error:
        return [], [str(error)]
    examples, problems = [], []
    for place in choose(run.scores, count):
        try:
            examples.append(_example(run.scores, run.by_class, manifest, place, explainer))
        except UserError as error:
            problems.append(str(error))
    return examples, problems


def _example(
    scores: Scores,
    by_class: ByClass,
    manifest: Manifest,
    place: int,
    explainer: Explainer,
) -> Example:
    clip = manifest.clip(int(scores.indices[place]))
    if clip.offsets:
        raise UserError(f"{clip.name}: is part of a tar shard, of which no maps are drawn")
    probabilities = scores.rows(np.array([place])).probabilities()[0]
    predicted = int(probabilities.argmax())
    found = explainer(clip.path, predicted)
    sheet = cam_sheet(found.frames, found.seconds, found.maps, side=120)
    png = io.BytesIO()
    sheet.save(png, format="PNG")
    return Example(
        Path(clip.name).name,
        by_class.names[scores.labels[place]],
        by_class.names[predicted],
        float(probabilities[predicted]),
        base64.b64encode(png.getvalue()).decode(),
    )


def _checkpoint(folder: Path, metrics: dict[str, Any]) -> Path:
    """The checkpoint that was evaluated, also where the run folder was moved since."""
    recorded = Path(metrics["checkpoint"])
    own = folder / "checkpoints" / recorded.name
    if recorded.is_file():
        return recorded
    if recorded.parent.name == own.parent.name and own.is_file():
        return own
    raise UserError(f"{recorded}: is no longer there")


def _manifest(config: Config, source: str) -> Manifest:
    data = config.data
    return manifest_of(
        source,
        data.root,
        classes=read_class_names(data.classes) if data.classes else (),
        template=data.frame_template,
        progress=False,
    )


def _of_different_classes(places: list[int], labels: np.ndarray) -> list[int]:
    """The places in an order in which classes take turns."""

    def turns() -> Iterator[tuple[int, int]]:
        seen: dict[int, int] = {}
        for rank, place in enumerate(places):
            label = int(labels[place])
            seen[label] = seen.get(label, 0) + 1
            yield seen[label], rank

    return [places[rank] for _, rank in sorted(turns())]
