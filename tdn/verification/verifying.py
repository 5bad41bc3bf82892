"""Measuring claims and judging them; nothing is verified that was not measured just now."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdn.config import Config
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.evaluation.ensemble import write_ensemble
from tdn.evaluation.evaluator import evaluate
from tdn.evaluation.scores import Scores
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.sources.listing import read_class_names
from tdn.training.processes.distributed import open_processes
from tdn.training.processes.leaving import KnownError, KnownExit
from tdn.training.saving.run_folder import make_folder
from tdn.verification.claims import Claim, Claims, DataSet, Evaluation
from tdn.verification.planning import Plan, Sources, plan

_log = logging.getLogger(__name__)

VERIFIED, NOT_REPRODUCED, NOT_RUN = "Verified", "Not reproduced", "Not run"


@dataclass(frozen=True)
class Measurement:
    """What became of an evaluation, or of several put together."""

    metrics: Mapping[str, Any] | None = None
    """None if there was none."""
    left_out: tuple[str, ...] = ()
    """Videos of the list that could not be decoded."""
    problem: str = ""
    """Why not."""


@dataclass(frozen=True)
class Finding:
    """What became of a claim."""

    claim: Claim
    status: str
    measured: float | None = None
    """Percent."""
    note: str = ""
    failed: bool = False
    """Whether something was wrong, rather than not there."""

    @property
    def difference(self) -> float | None:
        """Measured less claimed, in points."""
        return None if self.measured is None else self.measured - self.claim.claimed


class Verification:
    """Measures what can be measured, under ``torchrun`` on all its processes.

    Args:
        claims: What to verify.
        sources: Data and checkpoints.
        output: Folder; each evaluation has one in it.
        settings: Overrides of the recipes, such as ``["--training.device", "cpu"]``.

    Raises:
        UserError: Something is given that no claim is about, or the folder cannot be made, which is
            done if there is something to evaluate.
    """

    def __init__(
        self, claims: Claims, sources: Sources, output: Path, settings: Sequence[str] = ()
    ) -> None:
        self.claims = claims
        self.output = output
        first = load_config(claims.recipe(claims.evaluations[0].recipe), settings)
        with open_processes(first.training) as processes:
            plans: list[Plan] = []
            with processes.failing_together():
                if processes.is_main:
                    plans = plan(claims, sources, output, settings)
                    if any(planned.ready for planned in plans):
                        make_folder(output)
            plans = processes.from_main(plans)
        self._alone = processes.alone
        self.is_main = processes.is_main
        """Whether this is the process that prints and writes."""
        self.plans = {plan.evaluation: plan for plan in plans}
        self.measured: dict[tuple[Evaluation, ...], Measurement] = {}
        """By evaluation, and by those that were put together."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to evaluate."""
        return not any(plan.ready for plan in self.plans.values())

    def run(self) -> Iterator[None]:
        """Evaluate, one network by one protocol with each step; all processes must do so."""
        todo = [plan for plan in self.plans.values() if plan.ready]
        for number, planned in enumerate(todo, start=1):
            _log.info("%d of %d: %s", number, len(todo), planned.evaluation.name)
            self.measured[planned.evaluation,] = self._evaluated(planned)
            if self.is_main:
                self._put_together()
            yield

    def findings(self) -> list[Finding]:
        """What became of each claim so far; on the main process."""
        return [self._finding(claim) for claim in self.claims.claims]

    def _evaluated(self, plan: Plan) -> Measurement:
        assert plan.config is not None
        assert plan.checkpoint is not None
        try:
            metrics = evaluate(plan.config, plan.checkpoint)
            lost = _left_out(plan.config) if self.is_main and metrics["left_out"] else ()
            return Measurement(metrics, lost)
        except (UserError, KnownExit) as error:
            # What the other processes do not know of, they do not go on from.
            if not self._alone and not isinstance(error, (KnownError, KnownExit)):
                raise
            return Measurement(problem=str(error))

    def _put_together(self) -> None:
        for claim in self.claims.claims:
            parts = [self.measured.get((e,)) for e in claim.evaluations]
            known = claim.evaluations in self.measured
            if not known and all(part and part.metrics for part in parts):
                self.measured[claim.evaluations] = self._together(claim.evaluations)

    def _together(self, evaluations: Sequence[Evaluation]) -> Measurement:
        """Several networks as one, by the published rule; all are of the same videos."""
        folders = [self.output / evaluation.name for evaluation in evaluations]
        try:
            metrics = write_ensemble(folders, self.output / "+".join(f.name for f in folders))
        except UserError as error:
            return Measurement(problem=str(error))
        first = self.measured[evaluations[0],]
        assert first.metrics is not None
        return Measurement(metrics | {"left_out": first.metrics["left_out"]}, first.left_out)

    def _finding(self, claim: Claim) -> Finding:
        found = self.measured.get(claim.evaluations)
        if found is not None and found.metrics is not None:
            return judge(claim, found.metrics, found.left_out)
        if found is not None:
            return Finding(claim, NOT_RUN, note=found.problem, failed=True)
        plans = [self.plans[evaluation] for evaluation in claim.evaluations]
        parts = [self.measured.get((evaluation,)) for evaluation in claim.evaluations]
        problems = [part.problem for part in parts if part and part.problem]
        problems += [plan.problem for plan in plans if plan.problem]
        lacking = dict.fromkeys(word for plan in plans for word in plan.lacking)
        notes = [*problems, *(["needs " + ", ".join(lacking)] if lacking else [])]
        return Finding(claim, NOT_RUN, note="; ".join(notes) or "not yet", failed=bool(problems))


def _left_out(config: Config) -> tuple[str, ...]:
    """The listed videos of which an evaluation has no scores."""
    data = config.data
    classes = read_class_names(data.classes) if data.classes else ()
    manifest = manifest_of(
        data.validation_list, data.root, classes=classes, template=data.frame_template
    )
    scored = Scores.load(Path(config.output) / "scores.npz").indices
    lost = np.setdiff1d(np.arange(len(manifest)), scored).tolist()
    return tuple(Path(manifest.clip(row).name).name for row in lost)


def judge(claim: Claim, metrics: Mapping[str, Any], left_out: Sequence[str] = ()) -> Finding:
    """Compare a measured number with the published one, which is about the whole list.

    Args:
        claim: The claim.
        metrics: What was measured; percent, and "videos" and how many were "left_out".
        left_out: Names of these.
    """
    measured, videos, lost = metrics[claim.metric], metrics["videos"], metrics["left_out"]
    note = f"{videos:,} videos"
    if lost:
        more = ", ..." if lost > len(left_out[:_NAMED]) else ""
        note += f", but {lost:,} cannot be decoded: {', '.join(left_out[:_NAMED])}{more}"
        return Finding(claim, NOT_REPRODUCED, measured, note)
    if not claim.data.is_whole(videos):
        note += f", but the whole list has {_length(claim.data)}"
        return Finding(claim, NOT_REPRODUCED, measured, note)
    # Decimal fractions: 52.6 - 52.3 is a little more than 0.3.
    reproduced = abs(measured - claim.claimed) <= claim.data.tolerance + 1e-9
    return Finding(claim, VERIFIED if reproduced else NOT_REPRODUCED, measured, note)


_NAMED = 3
"""Videos that a note names."""


def _length(data: DataSet) -> str:
    return f"{data.videos:,}" if data.videos else f"at least {data.at_least:,}"
