"""Real clusters on one machine: what becomes of their tests where one cannot be had."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

PREFIX = "no real cluster: "


def unavailable(variable: str, why: str) -> NoReturn:
    """Skip a test; where the environment variable is set, as ``make test`` does, it fails.

    Args:
        variable: Such as TDN_NEEDS_SLURM.
        why: What this machine lacks.
    """
    if os.environ.get(variable):
        pytest.fail(f"{PREFIX}{why}", pytrace=False)
    pytest.skip(f"{PREFIX}{why}")


def summary(reports: list[pytest.TestReport]) -> list[str]:
    """Lines for the end of a session: how many of their tests were skipped, and why.

    Args:
        reports: Of all tests.
    """
    if not any(report.nodeid.startswith("tests/launch/") for report in reports):
        return []
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    ours = [reason.partition(PREFIX)[2] for reason in reasons if PREFIX in reason]
    counts = [f"  {ours.count(why)}: {why}" for why in sorted(set(ours))]
    return [f"tests of real clusters that were skipped: {len(ours)}", *counts]
