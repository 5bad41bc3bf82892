"""Measuring claims and judging them; nothing is verified that was not measured just now."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.evaluation.ensemble import write_ensemble
from tdn.evaluation.evaluator import evaluate
from tdn.training.distributed import open_processes
from tdn.training.leaving import KnownError, KnownExit
from tdn.training.run_folder import make_folder
from tdn.verification.claims import Claim, Claims, Network
from tdn.verification.planning import Plan, Sources, plan

_log = logging.getLogger(__name__)

VERIFIED, NOT_REPRODUCED, NOT_RUN = "Verified", "Not reproduced", "Not run"


@dataclass(frozen=True)
class Measurement:
    """What became of the evaluation of a network, or of several put together."""

    metrics: Mapping[str, Any] | None = None
    """None if there was none."""
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
        UserError: Something is given that no claim is about, or the folder cannot be made.
    """

    def __init__(
        self, claims: Claims, sources: Sources, output: Path, settings: Sequence[str] = ()
    ) -> None:
        self.claims = claims
        self.output = output
        first = load_config(claims.recipe(claims.networks[0].recipe), settings)
        with open_processes(first.training) as processes:
            plans: list[Plan] = []
            with processes.failing_together():
                if processes.is_main:
                    plans = plan(claims, sources, make_folder(output), settings)
            plans = processes.from_main(plans)
        self._alone = processes.alone
        self.is_main = processes.is_main
        """Whether this is the process that prints and writes."""
        self.plans = {plan.network: plan for plan in plans}
        self.measured: dict[tuple[Network, ...], Measurement] = {}
        """By network, and by those that were put together."""

    def run(self) -> Iterator[None]:
        """Evaluate the networks, one with each step; all processes must do so."""
        todo = [plan for plan in self.plans.values() if plan.ready]
        for number, planned in enumerate(todo, start=1):
            _log.info("%d of %d: %s", number, len(todo), planned.network.name)
            self.measured[planned.network,] = self._evaluated(planned)
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
            return Measurement(evaluate(plan.config, plan.checkpoint))
        except (UserError, KnownExit) as error:
            # What the other processes do not know of, they do not go on from.
            if not self._alone and not isinstance(error, (KnownError, KnownExit)):
                raise
            return Measurement(problem=str(error))

    def _put_together(self) -> None:
        for claim in self.claims.claims:
            parts = [self.measured.get((network,)) for network in claim.networks]
            if claim.networks not in self.measured and all(part and part.metrics for part in parts):
                self.measured[claim.networks] = _together(claim.networks, self.output)

    def _finding(self, claim: Claim) -> Finding:
        found = self.measured.get(claim.networks)
        if found is not None and found.metrics is not None:
            return judge(claim, found.metrics)
        if found is not None:
            return Finding(claim, NOT_RUN, note=found.problem, failed=True)
        plans = [self.plans[network] for network in claim.networks]
        parts = [self.measured.get((network,)) for network in claim.networks]
        problems = [part.problem for part in parts if part and part.problem]
        problems += [plan.problem for plan in plans if plan.problem]
        lacking = dict.fromkeys(word for plan in plans for word in plan.lacking)
        notes = [*problems, *(["needs " + ", ".join(lacking)] if lacking else [])]
        return Finding(claim, NOT_RUN, note="; ".join(notes) or "not yet", failed=bool(problems))


def _together(networks: Sequence[Network], output: Path) -> Measurement:
    """Networks as one, by the published rule."""
    folders = [output / network.name for network in networks]
    try:
        return Measurement(write_ensemble(folders, output / "+".join(f.name for f in folders)))
    except UserError as error:
        return Measurement(problem=str(error))


def judge(claim: Claim, metrics: Mapping[str, Any]) -> Finding:
    """Compare a measured number with the published one, which is about the whole list.

    Args:
        claim: The claim.
        metrics: What was measured; percent, and "videos".
    """
    measured, videos = metrics[claim.metric], metrics["videos"]
    note = f"{videos:,} videos"
    if claim.videos not in (0, videos):
        note += f", but the whole list has {claim.videos:,}"
        return Finding(claim, NOT_REPRODUCED, measured, note)
    # Decimal fractions: 52.6 - 52.3 is a little more than 0.3.
    reproduced = abs(measured - claim.claimed) <= claim.tolerance + 1e-9
    return Finding(claim, VERIFIED if reproduced else NOT_REPRODUCED, measured, note)
