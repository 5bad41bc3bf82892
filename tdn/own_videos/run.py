"""The stages of a run on a folder of videos; each is done once, and again where it is out of date.

Interrupted anywhere, the same command goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdn.config import Config
from tdn.config_loading import config_to_dict
from tdn.evaluation.evaluator import evaluate
from tdn.exporting import export
from tdn.files import write_text_atomically
from tdn.own_videos.choices import MINUTES
from tdn.own_videos.prepare import Prepared, prepare
from tdn.own_videos.processes import train_on
from tdn.own_videos.request import Request, without
from tdn.own_videos.summary import summary
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.sources.listing import read_class_names
from tdn.prediction.predictor import Predictor
from tdn.report.page import write_report
from tdn.trained import load_trained
from tdn.training.saving.run_folder import RunFolder


def train_on_folder(request: Request) -> int:
    """Train on a folder of videos, test, predict, export and report.

    Args:
        request: What is asked for.

    Returns:
        The exit status: 0 when all is done, 75 if it was asked to stop.

    Raises:
        UserError: The videos, a setting or the run folder cannot be used.
        SystemExit: Status 75: the evaluation was asked to stop.
    """
    prepared = prepare(request)
    status = train_on(prepared.config, prepared.processes)
    if status:
        return status
    run = _Run(prepared)
    try:
        run.finish()
    except KeyboardInterrupt:
        print("stopped on request: the same command goes on", flush=True)
        return os.EX_TEMPFAIL
    again = ["tdn", "train", *without(request.words, ("training.epochs",))]
    print(summary(run.root, run.files(), again, run.minutes))
    return 0


class _Run:
    """What follows the training.

    Args:
        prepared: The run.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.config = config = prepared.config
        self.root = root = Path(config.output)
        self.minutes = max(
            prepared.epoch_seconds * config.training.epochs / 60, min(MINUTES.values())
        )
        # Not the best one: with few videos it is the luckiest.
        self.checkpoint = RunFolder(root).last
        self.record = root / "own-videos.json"
        self.metrics = root / "metrics.json"
        self.predictions = root / "predictions.json"
        self.program = root / "network.pt2"
        self.report = root / "report.html"

    def finish(self) -> None:
        """Do what is not done since the training, or was done with another test protocol."""
        if self._record().get("protocol") != self._protocol():
            self.metrics.unlink(missing_ok=True)
        stages: list[tuple[str, Path, Path, Callable[[], object]]] = [
            ("Evaluating", self.metrics, self.checkpoint, self._evaluate),
            ("Predicting the validation videos", self.predictions, self.checkpoint, self._predict),
            ("Exporting the network", self.program, self.checkpoint, self._export),
            ("Writing the report", self.report, self.metrics, self._report),
        ]
        for name, made, source, make in stages:
            if not _is_newer(made, source):
                print(f"{name} ...", flush=True)
                make()

    def files(self) -> list[tuple[Path, str]]:
        """What there is to look at."""
        return [
            (self.report, "curves, classes, mistakes: a page for a browser"),
            (self.predictions, "what it says of each validation video"),
            (self.root / "classes.csv", "how well each class is told from the others"),
            (self.checkpoint, "the network, for 'tdn predict'"),
            (self.program, "the network without this program, for 'torch.export.load'"),
            (self.root / "config.yaml", "all settings: 'tdn train --config' repeats the run"),
        ]

    def _evaluate(self) -> None:
        evaluate(self.config, self.checkpoint)
        content = self._record() | {"protocol": self._protocol()}
        write_text_atomically(self.record, json.dumps(content, indent=2) + "\n")

    def _record(self) -> dict[str, Any]:
        """What is kept of the run besides its configuration."""
        found: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        return found

    def _protocol(self) -> str:
        """What the evaluation depends on besides the checkpoint."""
        tree = config_to_dict(self.config)
        sizes = [tree["data"][name] for name in ("short_side", "crop_size")]
        return json.dumps([tree["evaluation"], sizes])

    def _predict(self) -> None:
        paths, names = _validation_videos(self.config)
        found = Predictor(self.checkpoint, device=self.config.training.device)(paths, progress=True)
        content = [
            {"class": name} | video.as_dict() for video, name in zip(found, names, strict=True)
        ]
        write_text_atomically(self.predictions, json.dumps(content, indent=2) + "\n")

    def _export(self) -> None:
        export(load_trained(self.checkpoint), self.program)

    def _report(self) -> None:
        for problem in write_report(self.root, self.report, device=self.config.training.device):
            print(problem)


def _is_newer(made: Path, source: Path) -> bool:
    """Whether a file is there and was written after what it is made of."""
    return made.exists() and made.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _validation_videos(config: Config) -> tuple[list[str], list[str]]:
    """Paths and class names of the usable validation videos, as far as they are files."""
    data = config.data
    classes = read_class_names(data.classes) if data.classes else ()
    manifest = manifest_of(
        data.validation_list, data.root, classes=classes, template=data.frame_template
    )
    rows = [row for row in manifest.usable.tolist() if not manifest.value(row, "member")]
    names = manifest.classes or tuple(map(str, range(config.model.num_classes)))
    return (
        [manifest.resolve(manifest.value(row, "path")) for row in rows],
        [names[manifest.labels[row]] for row in rows],
    )
