"""What a run folder tells about its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tdn.errors import UserError
from tdn.evaluation.by_class import ByClass
from tdn.evaluation.scores import Scores

Event = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """A run, as far as it has come.

    Attributes:
        folder: Where it is.
        config: Its resolved configuration, as text.
        events: The lines of its log.
        metrics: Of its evaluation; None if there was none.
        scores: Of the evaluated videos.
        by_class: What follows from them.
    """

    folder: Path
    config: str
    events: list[Event]
    metrics: dict[str, Any] | None
    scores: Scores | None
    by_class: ByClass | None

    def of(self, kind: str) -> list[Event]:
        """The events of a kind, in order."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def start(self) -> Event:
        """What the last session began with."""
        return self.of("start")[-1]

    @property
    def completed(self) -> bool:
        """Whether all epochs are done."""
        ends = self.of("end")
        return bool(ends) and bool(ends[-1]["completed"])

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration as nested plain values."""
        tree: dict[str, Any] = yaml.safe_load(self.config)
        return tree


def read_run(folder: Path) -> RunRecord:
    """Read a run folder; what an unfinished run has not written yet is left out.

    Raises:
        UserError: It is no run folder, or a file in it is damaged.
    """
    log, config = folder / "log.jsonl", folder / "config.yaml"
    for path in (log, config):
        if not path.is_file():
            raise UserError(f"{path}: is missing; give the folder of a run of 'tdn train'")
    events = list(filter(None, map(_event, log.read_text(encoding="utf-8").splitlines())))
    if not any(event["event"] == "start" for event in events):
        raise UserError(f"{log}: holds no start of a run; give the folder of a run of 'tdn train'")
    metrics, scores, by_class = None, None, None
    if (folder / "metrics.json").is_file() and (folder / "scores.npz").is_file():
        metrics = _json(folder / "metrics.json")
        scores = Scores.load(folder / "scores.npz")
        by_class = ByClass.of(scores, metrics.get("class_names", ()))
    text = config.read_text(encoding="utf-8")
    return RunRecord(folder, text, events, metrics, scores, by_class)


def _event(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:  # cut off by a crash, or being written
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged; run 'tdn evaluate' again")
    return content
