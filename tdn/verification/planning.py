"""What can be measured with the data and the checkpoints that are there, and what is lacking."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.pipelines.datasets.official import DATA_SETS
from tdn.pipelines.datasets.preparing import prepare
from tdn.provenance import sha256
from tdn.verification.claims import Claims, Evaluation

_log = logging.getLogger(__name__)

_ENDINGS = (".pt", ".pth", ".tar", ".pth.tar")


@dataclass(frozen=True)
class Sources:
    """What the user has."""

    data: Mapping[str, str] = field(default_factory=dict)
    """Folder of each data set."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Folder of a data set's label files, where that is another."""
    folder: Path = Path("checkpoints")
    """Checkpoints that are called by their recipe: ``ssv1_r50_8f.pt``, .pth, .tar or .pth.tar."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Checkpoints of other names, by recipe."""


@dataclass(frozen=True)
class Plan:
    """How to make an evaluation, or why it cannot be made."""

    evaluation: Evaluation
    config: Config | None = None
    """None if it cannot be."""
    checkpoint: Path | None = None
    checksum: str = ""
    """SHA-256 of the checkpoint."""
    lacking: tuple[str, ...] = ()
    """What is not there; nothing is wrong with what is."""
    problem: str = ""
    """What is wrong."""

    @property
    def ready(self) -> bool:
        """Whether it can be evaluated."""
        return self.config is not None


def plan(claims: Claims, sources: Sources, output: Path, settings: Sequence[str]) -> list[Plan]:
    """Find out what can be measured. Lists of data sets that have none yet are made.

    Args:
        claims: The claims.
        sources: What is there.
        output: Folder for the evaluations.
        settings: Overrides of the recipes.

    Raises:
        UserError: Data or checkpoints are given for what no claim is about.
    """
    data = {evaluation.data for evaluation in claims.evaluations}
    _check_names("--data", sources.data, data)
    _check_names("--labels", sources.labels, data)
    _check_names("--checkpoint", sources.files, {e.recipe for e in claims.evaluations})
    lost = next((path for path in sources.files.values() if not path.is_file()), None)
    if lost is not None:
        raise UserError(f"--checkpoint: {lost}: there is no such file; check the path")
    return [_planned(claims, e, sources, output, settings) for e in claims.evaluations]


def _check_names(option: str, given: Mapping[str, object], known: set[str]) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise UserError(
            f"{option}: no claim is about '{unknown}'; give one of {', '.join(sorted(known))}"
        )


def _planned(
    claims: Claims, evaluation: Evaluation, sources: Sources, output: Path, settings: Sequence[str]
) -> Plan:
    try:
        checkpoint = _find_checkpoint(evaluation.recipe, sources)
        lacking = [] if evaluation.data in sources.data else [f"--data {evaluation.data}=ROOT"]
        if checkpoint is None:
            lacking.append(str(sources.folder / f"{evaluation.recipe}{_ENDINGS[0]}"))
        if checkpoint is None or lacking:
            return Plan(evaluation, lacking=tuple(lacking))
        words = ["--data.root", sources.data[evaluation.data]]
        words += ["--evaluation.clips", str(evaluation.clips)]
        words += ["--evaluation.crops", str(evaluation.crops)]
        words += ["--output", str(output / evaluation.name)]
        config = load_config(claims.recipe(evaluation.recipe), [*settings, *words])
        _make_list(evaluation.data, config, sources.labels.get(evaluation.data))
        return Plan(evaluation, config, checkpoint, sha256(checkpoint))
    except UserError as error:
        return Plan(evaluation, problem=str(error))


def _find_checkpoint(recipe: str, sources: Sources) -> Path | None:
    if recipe in sources.files:
        return sources.files[recipe]
    paths = [sources.folder / f"{recipe}{ending}" for ending in _ENDINGS]
    found = [path for path in paths if path.is_file()]
    if len(found) > 1:
        raise UserError(f"{found[0]}, {found[1]}: are two checkpoints of {recipe}; remove one")
    return found[0] if found else None


def _make_list(data: str, config: Config, labels: str | None) -> None:
    """Make a published data set's lists where the recipe looks for them, unless they are there."""
    path = Path(config.data.validation_list)
    if data not in DATA_SETS or path.exists():
        return
    _log.info("%s", prepare(data, config.data.root, path.parent, labels=labels))
