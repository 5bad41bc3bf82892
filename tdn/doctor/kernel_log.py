"""Xids: what the NVIDIA driver has told the kernel's log of faults of GPUs, since the last boot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tdn.doctor.findings import Finding, warn

_LOG = Path("/dev/kmsg")
_JOURNAL = ("journalctl", "--dmesg", "--quiet", "--no-pager", "--output=short-monotonic")
"""Of this boot; whoever is in one of its groups may ask, also where the log itself is closed."""
_PATIENCE = 10.0
"""Seconds for a journal on a slow disk."""
_HARDWARE = {
    46: "it stopped processing",
    48: "an uncorrectable memory error",
    61: "an internal microcontroller stopped",
    62: "an internal microcontroller halted",
    63: "faulty memory was replaced by spare rows",
    64: "faulty memory could not be replaced",
    74: "an NVLink error",
    79: "it has fallen off the bus",
    92: "many correctable memory errors",
    94: "a contained memory error",
    95: "an uncontained memory error",
    109: "its work took too long to switch",
    119: "its system processor did not answer",
    120: "its system processor failed",
    140: "an unrecovered memory error",
    145: "an NVLink error",
    149: "an NVLink error",
}
"""Xids that NVIDIA's catalogue ascribes to hardware or firmware, not to a program's mistake."""


class Xid(NamedTuple):
    """A fault."""

    bus: str
    """The GPU's place on the PCI bus, as in /sys/bus/pci/devices."""
    number: int
    seconds: float
    """Since the machine was started."""


def look() -> list[Xid] | None:
    """The faults that the log still has; None where it may not be read."""
    try:
        descriptor = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        records = _journal()
        return list(read(records)) if records else None
    try:
        return list(read(_records(descriptor)))
    finally:
        os.close(descriptor)


def _journal() -> list[str]:
    """The log's records as systemd keeps them; nothing for those who may not see them."""
    command = shutil.which(_JOURNAL[0])
    if command is None:
        return []
    words = [command, *_JOURNAL[1:]]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return []
    lines = done.stdout.decode(errors="replace").splitlines()
    # "[   90.000000] host kernel: TEXT", as the log has it: "level,number,microseconds,flags;TEXT"
    found = (re.match(r"\[ *(\d+)\.(\d{6})\] \S+ kernel: (.*)", line) for line in lines)
    return [f"0,0,{int(each[1] + each[2])},-;{each[3]}" for each in found if each]


def _records(descriptor: int) -> Iterator[str]:
    """Each read gives a record, until the log would have to wait for the next one."""
    while True:
        try:
            yield os.read(descriptor, 8192).decode(errors="replace")
        except BrokenPipeError:  # overwritten before it was read; the next one is there
            continue
        except OSError:
            return


def read(records: Iterator[str] | Sequence[str]) -> Iterator[Xid]:
    """The faults in records such as "4,1,90000000,-;NVRM: Xid (PCI:0000:3b:00): 79, ..."."""
    for record in records:
        head, _, text = record.partition(";")
        found = re.match(r"NVRM: Xid \(PCI:([0-9a-fA-F:]+)\S*: (\d+),", text)
        if found:
            microseconds = int(head.split(",")[2])
            yield Xid(f"{found[1].lower()}.0", int(found[2]), microseconds / 1e6)


def judge(xids: Sequence[Xid] | None, buses: Sequence[str], now: float) -> Iterator[Finding]:
    """What to say of faults of hardware, the last one of each kind.

    Args:
        xids: All that the log has; None where it may not be read.
        buses: Places of the GPUs, by their number.
        now: Seconds since the machine was started.
    """
    if xids is None:
        yield warn(
            "Xids",
            "the kernel's log may not be read: whether GPUs had faults is not known",
            "sudo usermod -aG systemd-journal $USER, or sudo sysctl kernel.dmesg_restrict=0; an "
            "administrator sees them: sudo dmesg | grep Xid",
        )
        return
    last = {(xid.bus, xid.number): xid for xid in xids if xid.number in _HARDWARE}
    for xid in last.values():
        name = f"gpu {buses.index(xid.bus)}" if xid.bus in buses else f"gpu at {xid.bus}"
        hours = (now - xid.seconds) / 3600
        count = sum(other[:2] == xid[:2] for other in xids)
        yield warn(
            name,
            f"Xid {xid.number} {count} times, the last {hours:.1f} hours ago: "
            f"{_HARDWARE[xid.number]}",
            f"sudo dmesg | grep Xid; take another node if it comes back after a reset, and look "
            f"up Xid {xid.number} in NVIDIA's Xid catalogue",
        )


def seconds_since_start() -> float:
    """The clock of the kernel's log."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
