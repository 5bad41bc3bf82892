"""The examination: which checks there are, and carrying them all out."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tdn
from tdn.doctor.findings import Finding, Level
from tdn.doctor.gpus import has_gpu
from tdn.doctor.isolation import Check, carry_out
from tdn.files import write_text_atomically
from tdn.machine import usable_cores

CHECKS: tuple[Check, ...] = (
    Check("python", "tdn.doctor.installation:check_python"),
    Check("packages", "tdn.doctor.installation:check_packages"),
    Check("environment", "tdn.doctor.environment:check"),
    Check("processors", "tdn.doctor.processors:check"),
    Check("limits", "tdn.doctor.limits:check"),
    Check("cache", "tdn.doctor.storage:check_cache"),
    Check("driver", "tdn.doctor.driver:check", on_gpu=True),  # it lists who computes there
    Check("torch", "tdn.doctor.torch_build:check", on_gpu=True),
    Check("communication", "tdn.doctor.communication:check", on_gpu=True),
    Check("apex", "tdn.doctor.apex_build:check", on_gpu=True),
    Check("kernels", "tdn.doctor.triton_kernels:check_choice", on_gpu=True),
    Check("triton", "tdn.doctor.triton_kernels:check", on_gpu=True),
    Check("libraries", "tdn.doctor.libraries:check"),
    Check("dali", "tdn.doctor.dali:check", on_gpu=True),
    Check("video", "tdn.doctor.video:check", on_gpu=True),
    Check("pictures", "tdn.doctor.pictures:check", on_gpu=True),
)


OUTPUT = Check("output", "tdn.doctor.storage:check_output")
"""Where runs are written if no configuration says."""


def all_checks(path: str | None, overrides: Sequence[str] = ()) -> tuple[Check, ...]:
    """Every check of the machine, and that of a configuration if there is one.

    Args:
        path: Its YAML file, or None.
        overrides: Command-line words, such as "--optimizer.lr", "0.02".
    """
    if path is None:
        return (*CHECKS, OUTPUT)
    return (*CHECKS, configuration_check((path, *overrides)))


def configuration_check(words: tuple[str, ...]) -> Check:
    """That of a configuration: its file, and what overrides it."""
    return Check("configuration", "tdn.doctor.configuration:check", words, on_gpu=True)


def examine(
    checks: Sequence[Check],
    seconds: float,
    show: Callable[[Finding], object] = lambda _: None,
    total: float = math.inf,
    late: Level = "fail",
) -> list[Finding]:
    """Carry out checks, some at once, each in a process of its own.

    Args:
        checks: What to look at.
        seconds: For each; after these it is taken for hung.
        show: Called with each finding, in the order of the checks, as soon as it is there.
        total: Seconds for all of them; what is left when they are over gets one second each.
        late: Level of the finding for a check that gives no answer in time.
    """
    return asyncio.run(_examine(checks, seconds, show, time.monotonic() + total, late))


async def _examine(
    checks: Sequence[Check],
    seconds: float,
    show: Callable[[Finding], object],
    until: float,
    late: Level,
) -> list[Finding]:
    at_once = asyncio.Semaphore(max(2, min(4, usable_cores())))
    others = asyncio.Semaphore(len(checks))
    # A cluster may let only one process at a time onto a GPU.
    on_gpu = asyncio.Semaphore(1) if has_gpu() else others

    async def carried_out(check: Check) -> list[Finding]:
        async with on_gpu if check.on_gpu else others, at_once:
            left = max(1.0, until - time.monotonic())
            return await carry_out(check, min(seconds, left), late)

    tasks = [asyncio.create_task(carried_out(check)) for check in checks]
    findings = []
    for task in tasks:
        for finding in await task:
            findings.append(finding)
            show(finding)
    return findings


def summary(findings: Sequence[Finding]) -> str:
    """How many findings there are of each level, in a line."""
    levels = [finding.level for finding in findings]
    failed, warned = levels.count("fail"), levels.count("warn")
    warnings = f"{warned} warning{'' if warned == 1 else 's'}"
    return f"{levels.count('ok')} ok, {warnings}, {failed or 'nothing'} failed"


def write_report(findings: Sequence[Finding], path: Path) -> None:
    """Write findings as JSON: {"tdn": version, "failed": number, "findings": [{"level", ...}]}.

    Raises:
        UserError: The file cannot be written.
    """
    report = {
        "tdn": tdn.__version__,
        "failed": sum(finding.level == "fail" for finding in findings),
        "findings": [finding._asdict() for finding in findings],
    }
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    write_text_atomically(path, text, "choose another file")
