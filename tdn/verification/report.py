"""The report of a verification: a table for people (Markdown), and all of it as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.provenance import commit
from tdn.training.state import versions
from tdn.verification.claims import METRICS, Claim
from tdn.verification.planning import Plan
from tdn.verification.verifying import (
    NOT_REPRODUCED,
    NOT_RUN,
    VERIFIED,
    Finding,
    Measurement,
    Verification,
)


class Report:
    """The report of a verification as it stands.

    Args:
        verification: The verification.
    """

    def __init__(self, verification: Verification) -> None:
        self.findings = verification.findings()
        self.folder = verification.output
        measured = verification.measured
        self.content: dict[str, Any] = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(),
            "claims_file": str(verification.claims.path),
            "counts": _counts(self.findings),
            "claims": [_claim(finding) for finding in self.findings],
            "measurements": [
                _measurement(plan, measured[plan.evaluation,])
                for plan in verification.plans.values()
                if (plan.evaluation,) in measured
            ],
            "together": [
                {"evaluations": [part.name for part in parts], **_metrics(measurement)}
                for parts, measurement in measured.items()
                if len(parts) > 1
            ],
        }

    @property
    def failed(self) -> bool:
        """Whether something was not reproduced or went wrong."""
        return any(f.failed or f.status == NOT_REPRODUCED for f in self.findings)

    @property
    def markdown(self) -> str:
        """All of it, to be read."""
        found = self.content
        about = [f"- {name}: {text}" for name, text in found["versions"].items()]
        parts = [
            "# Published accuracies, measured",
            f"{_summary(found['counts'])}. {found['claims_file']}, {found['date']}.",
            _claim_table(self.findings, with_source=True),
            "Accuracies are in percent, differences and tolerances in points. Verified: measured "
            "in this run, on the whole validation list, within the tolerance.",
            "## Measurements",
            _measurement_table(found["measurements"]) or "None.",
            "## Program",
            "\n".join([f"- commit: {found['commit']}", *about]),
        ]
        return "\n\n".join(parts) + "\n"

    def write(self) -> None:
        """Write report.md and report.json to the verification's folder."""
        text = json.dumps(self.content, indent=2) + "\n"
        write_text_atomically(self.folder / _JSON, text)
        write_text_atomically(self.folder / _MARKDOWN, self.markdown)

    def __str__(self) -> str:
        return f"{_claim_table(self.findings)}\n\n{_summary(self.content['counts'])}"


_JSON, _MARKDOWN = "report.json", "report.md"


def keep_former(folder: Path) -> None:
    """Rename the report of a former verification by the day and time when it was written.

    Raises:
        UserError: It cannot be renamed.
    """
    paths = [path for path in (folder / _JSON, folder / _MARKDOWN) if path.exists()]
    if not paths:
        return
    written = datetime.fromtimestamp(paths[0].stat().st_mtime, timezone.utc)
    for path in paths:
        try:
            path.rename(path.with_stem(f"{path.stem}-{written:%Y%m%dT%H%M%S.%fZ}"))
        except OSError as error:
            raise UserError(
                f"{path}: cannot be renamed ({error.strerror}); give another --output"
            ) from None


_CLAIM_COLUMNS = (
    *("data", "model", "frames x crops x clips", "metric", "claimed", "measured", "difference"),
    *("tolerance", "status", "note"),
)


def _claim_table(findings: Sequence[Finding], with_source: bool = False) -> str:
    """A row for each claim."""
    rows = [(*_CLAIM_COLUMNS, "source"), *((*_cells(f), f.claim.source) for f in findings)]
    return _aligned(rows if with_source else [row[:-1] for row in rows])


def _cells(finding: Finding) -> tuple[str, ...]:
    claim = finding.claim
    measured, difference = finding.measured, finding.difference
    first = claim.evaluations[0]
    return (
        first.data,
        claim.model,
        f"{'+'.join(map(str, claim.frames))} x {first.crops} x {first.clips}",
        METRICS[claim.metric],
        f"{claim.claimed:.1f}",
        "" if measured is None else f"{measured:.2f}",
        "" if difference is None else f"{difference:+.2f}",
        f"{claim.data.tolerance:g}",
        finding.status,
        finding.note,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _measurement_table(measurements: Sequence[dict[str, Any]]) -> str:
    rows = [[str(found.get(key, "")) for key in _MEASURED.values()] for found in measurements]
    return _aligned([list(_MEASURED), *rows]) if rows else ""


_MEASURED = {
    "evaluation": "evaluation",
    "videos": "videos",
    "left out": "left_out",
    "checkpoint": "checkpoint",
    "SHA-256": "checkpoint_sha256",
    "list": "validation_list",
    "precision": "precision",
    "device": "device",
    "processes": "world_size",
    "problem": "problem",
}
"""Columns, and where they come from."""


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counts = Counter(finding.status for finding in findings)
    return {status: counts[status] for status in (VERIFIED, NOT_REPRODUCED, NOT_RUN)}


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status.lower()}" for status, count in counts.items())


def _claim(finding: Finding) -> dict[str, Any]:
    claim: Claim = finding.claim
    first = claim.evaluations[0]
    return {
        "data": first.data,
        "model": claim.model,
        "frames": list(claim.frames),
        "clips": first.clips,
        "crops": first.crops,
        "metric": claim.metric,
        "claimed": claim.claimed,
        "measured": finding.measured,
        "difference": finding.difference,
        "tolerance": claim.data.tolerance,
        "status": finding.status,
        "note": finding.note,
        "source": claim.source,
        "measurements": [evaluation.name for evaluation in claim.evaluations],
    }


def _measurement(plan: Plan, measurement: Measurement) -> dict[str, Any]:
    return {
        "evaluation": plan.evaluation.name,
        "recipe": plan.evaluation.recipe,
        **_metrics(measurement),
        "checkpoint": str(plan.checkpoint),
        "checkpoint_sha256": plan.checksum,
    }


def _metrics(measurement: Measurement) -> Mapping[str, Any]:
    if measurement.metrics is None:
        return {"problem": measurement.problem}
    lost = {"left_out_videos": list(measurement.left_out)} if measurement.left_out else {}
    return {**measurement.metrics, **lost}
