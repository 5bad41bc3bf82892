"""Examining one node: what the doctor looks at, and what other nodes are to compare."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from tdn.doctor import driver, nvlink
from tdn.doctor.examination import CHECKS, configuration_check, examine
from tdn.doctor.findings import Finding, fail
from tdn.doctor.gpus import has_gpu
from tdn.doctor.isolation import Check
from tdn.preflight import facts
from tdn.preflight.facts import Facts
from tdn.preflight.network import Network
from tdn.preflight.request import Request

_ALWAYS = (
    "packages",
    "environment",
    "processors",
    "limits",
    "cache",
    "driver",
    "libraries",
    "dali",
)
_OF_GPUS = ("torch", "video", "pictures")
"""Names of the doctor's checks."""


@dataclass(frozen=True)
class NodeReport:
    """What was found on a node."""

    processes: int
    gpus: int
    """GPUs for these processes; 0 where they compute on the CPU."""
    findings: list[Finding]
    facts: Facts
    network: Network = field(default_factory=Network)
    nvlink: float = 0.0
    """Bytes per second that the GPU with the fewest links to others should reach."""
    pcie: float = 0.0
    """Bytes per second and direction of the slowest GPU's link to the host; 0 where unknown."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            **dataclasses.asdict(self),
            "findings": [list(finding) for finding in self.findings],
            "network": list(self.network),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NodeReport:
        """From what ``to_dict`` gave."""
        findings = [Finding(*finding) for finding in values["findings"]]
        return cls(**{**values, "findings": findings, "network": Network(*values["network"])})


def checks(request: Request) -> tuple[Check, ...]:
    """What to look at on a node: what differs between machines, or breaks.

    The rest (Triton's kernels, Apex, the choice of kernels) is the same wherever the packages are,
    and left to ``tdn doctor``.
    """
    wanted = _ALWAYS + (_OF_GPUS if request.on_gpu and has_gpu() else ())
    by_name = {check.name: check for check in CHECKS}
    found = tuple(by_name[name] for name in wanted)
    return (*found, configuration_check(request.words)) if request.words else found


def _pcie() -> float:
    links = [gpu.health.pcie.bytes_per_second for gpu in driver.look().gpus]
    return min(links, default=0.0)


def examine_node(
    request: Request, processes: int, gpus: int, network: Network, ahead: float, seconds: float
) -> NodeReport:
    """Examine this node.

    Args:
        request: What is to run.
        processes: Of this node.
        gpus: That torch would see.
        network: The way to the others.
        ahead: Seconds of its clock.
        seconds: For all checks together.
    """
    devices = gpus if request.on_gpu else 0
    # A check that is slow on a busy machine does not stop a run, which may take all its time.
    findings = examine(checks(request), seconds, total=seconds, late="warn")
    findings += facts.judge_clock(ahead)
    if 0 < devices < processes:
        found = f"{processes}, but there are {devices} GPUs"
        findings.append(fail("processes", found, f"--nproc-per-node {devices}, or gpu"))
    return NodeReport(
        processes=processes,
        gpus=devices,
        findings=findings,
        facts=facts.look(request, devices),
        network=network,
        nvlink=nvlink.slowest(nvlink.look()) if devices else 0.0,
        pcie=_pcie() if devices else 0.0,
    )
