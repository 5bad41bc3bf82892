"""What the driver reports of a GPU that makes it slow or about to fail.

Names of the report's elements are those of ``nvidia-smi -q -x``; older drivers call some otherwise,
and what they do not report is taken for healthy.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, warn

_HELD_BACK = {
    "hw_thermal_slowdown": "heat",
    "sw_thermal_slowdown": "heat",
    "hw_power_brake_slowdown": "the power supply",
}
"""Reasons for lower clocks that are faults; the limit of power, idleness and settings are not."""
_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""Bytes per second of a lane of PCIe in each direction, by generation."""
_SHOWN = 3


class Pcie(NamedTuple):
    """A link to the host."""

    generation: int = 0
    most_generation: int = 0
    """That the GPU and its slot both can; 0 where unknown, as of all here."""
    width: int = 0
    most_width: int = 0

    @property
    def bytes_per_second(self) -> float:
        """What it can in each direction; 0 where unknown."""
        return _LANE.get(self.most_generation, 0.0) * self.most_width


class Health(NamedTuple):
    """State of a GPU; as it is here, of a healthy one."""

    pcie: Pcie = Pcie()
    awake: bool = True
    """Whether it is in its highest performance state: others save power by a slower link."""
    slowed: tuple[str, ...] = ()
    """What holds its clocks back, as far as it is a fault."""
    rows_pending: bool = False
    """Whether faulty rows or pages of its memory wait for a reset to be replaced."""
    rows_failed: bool = False
    """Whether rows could not be replaced."""
    fabric: str = "Completed"
    """State of its registration with NVLink's switches."""
    processes: tuple[str, ...] = ()
    """What computes on it: name, process and memory."""


def read(gpu: ElementTree.Element) -> Health:
    """The health of a GPU of the report."""

    def text(path: str) -> str:
        return (gpu.findtext(path) or "").strip()

    def number(path: str) -> int:
        found = re.match(r"\d+", text(path))  # "16x", or "N/A"
        return int(found[0]) if found else 0

    link = "pci/pci_gpu_link_info"
    state = text("performance_state") or text("clocks/performance_state")
    fabric = text("fabric/state")
    pending = ("remapped_rows/remapped_row_pending", "retired_pages/pending_retirement")
    return Health(
        pcie=Pcie(
            number(f"{link}/pcie_gen/current_link_gen"),
            number(f"{link}/pcie_gen/max_link_gen"),
            number(f"{link}/link_widths/current_link_width"),
            number(f"{link}/link_widths/max_link_width"),
        ),
        awake=state in ("P0", ""),
        slowed=_slowed(gpu),
        rows_pending=any(
            text(path) == "Yes" for path in (*pending, "retired_pages/pending_blacklist")
        ),
        rows_failed=text("remapped_rows/remapped_row_failure") == "Yes",
        fabric="Completed" if fabric in ("", "N/A") else fabric,
        processes=tuple(_processes(gpu)),
    )


def _slowed(gpu: ElementTree.Element) -> tuple[str, ...]:
    """The reasons for lower clocks, by either of the names that drivers have for them."""

    def is_active(name: str) -> bool:
        paths = (
            f"clocks_event_reasons/clocks_event_reason_{name}",
            f"clocks_throttle_reasons/clocks_throttle_reason_{name}",
        )
        return any((gpu.findtext(path) or "").strip() == "Active" for path in paths)

    found = dict.fromkeys(words for name, words in _HELD_BACK.items() if is_active(name))
    if not found and is_active("hw_slowdown"):  # on old GPUs it stands for either
        return ("heat or the power supply",)
    return tuple(found)


def _processes(gpu: ElementTree.Element) -> Iterator[str]:
    for process in gpu.findall("processes/process_info"):
        if "C" in (process.findtext("type") or ""):  # computes; G draws
            name, identity, memory = (
                (process.findtext(key) or "?").strip()
                for key in ("process_name", "pid", "used_memory")
            )
            yield f"{name} (process {identity}, {memory})"


def judge(number: int, health: Health) -> Iterator[Finding]:
    """What is wrong with a GPU; nothing of a healthy one."""
    name = f"gpu {number}"
    reset = f"sudo nvidia-smi --gpu-reset -i {number}"
    if health.rows_failed:
        found = "rows of its memory are faulty and could not be replaced"
        yield fail(name, found, "take another node, and have this GPU replaced")
    elif health.rows_pending:
        yield warn(name, "faulty memory is to be replaced by spare rows at the next reset", reset)
    if health.fabric != "Completed":
        found = f"not registered with NVLink's switches: {health.fabric}"
        yield fail(name, found, "sudo systemctl restart nvidia-fabricmanager; then this again")
    if health.slowed:
        found = f"its clocks are held back by {', '.join(health.slowed)}"
        remedy = f"look at cooling and power: nvidia-smi -i {number} -q -d PERFORMANCE,TEMPERATURE"
        yield warn(name, found, remedy)
    if health.processes:
        listed = ", ".join(health.processes[:_SHOWN])
        more = len(health.processes) - _SHOWN
        listed += f" and {more} more" if more > 0 else ""
        yield warn(name, f"others compute on it: {listed}", "end them, or take another GPU")
    yield from _pcie(name, health)


def _pcie(name: str, health: Health) -> Iterator[Finding]:
    link = health.pcie
    remedy = "seat the card, riser or cable again; see the slot's settings in the BIOS"
    if link.width < link.most_width:
        found = f"PCIe with {link.width} lanes of {link.most_width}"
        yield warn(f"{name} pcie", found, remedy)
    if health.awake and link.generation < link.most_generation:
        found = f"PCIe of generation {link.generation}, it can {link.most_generation}"
        yield warn(f"{name} pcie", found, remedy)
