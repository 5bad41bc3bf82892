from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.doctor import kernel_log
from tdn.doctor.kernel_log import Xid, judge, read

RECORDS = [
    "6,339,5140900,-;NET: Registered protocol family 10\n",
    "4,1201,90000000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=4321, GPU has fallen off the bus.\n",
    "4,1202,95000000,c;NVRM: Xid (PCI:0000:3B:00): 79, pid=4321, GPU has fallen off the bus.\n",
    "4,1203,96000000,-;NVRM: Xid (PCI:0000:5e:00): 31, pid=77, name=python, MMU Fault\n",
    "4,1204,97000000,-;NVRM: GPU at PCI:0000:3b:00: GPU-1b2c\n SUBSYSTEM=pci\n",
]
BUSES = ("0000:18:00.0", "0000:3b:00.0")


def test_reading_the_kernels_log():
    assert list(read(RECORDS)) == [
        Xid("0000:3b:00.0", 79, 90.0),
        Xid("0000:3b:00.0", 79, 95.0),
        Xid("0000:5e:00.0", 31, 96.0),
    ]


@given(st.lists(st.text()))
def test_other_records_hold_no_faults(records):
    assert list(read(records)) == []


def test_faults_of_hardware_are_told_and_programs_mistakes_are_not():
    (finding,) = judge(list(read(RECORDS)), BUSES, now=95.0 + 7200)
    assert finding.level == "warn"
    assert finding.name == "gpu 1"
    assert "Xid 79" in finding.found
    assert "2 times" in finding.found
    assert "2.0 hours" in finding.found
    (finding,) = judge(list(read(RECORDS)), (), now=100.0)
    assert "0000:3b:00.0" in finding.name


def test_a_log_is_read_to_its_end_and_no_further(tmp_path, monkeypatch):
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)  # with a writer, reading past the end would wait
    os.write(keeper, RECORDS[1].encode())
    monkeypatch.setattr(kernel_log, "_LOG", path)
    assert [xid.number for xid in kernel_log.look()] == [79]
    os.close(keeper)


JOURNAL = """[    0.000000] node7 kernel: Linux version 6.8.0
[   90.000001] node7 kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=4321, GPU has fallen off the bus.
"""


@pytest.mark.parametrize(
    ("says", "seen"),
    [
        (f"cat <<'END'\n{JOURNAL}END", [Xid("0000:3b:00.0", 79, 90.000001)]),
        ("echo '[    0.000000] node7 kernel: Linux version 6.8.0'", []),
        ("echo 'Hint: You are currently not seeing messages from the system.' >&2", None),
        ("exit 1", None),
    ],
)
def test_a_log_that_may_not_be_read_is_asked_of_the_journal(tmp_path, monkeypatch, says, seen):
    monkeypatch.setattr(kernel_log, "_LOG", tmp_path / "none")
    command = tmp_path / "journalctl"
    command.write_text(f"#!/bin/sh\n{says}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert kernel_log.look() == seen


def test_what_is_not_known_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_log, "_LOG", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kernel_log.look() is None
    (finding,) = judge(None, BUSES, now=1.0)
    assert (finding.level, finding.name) == ("warn", "Xids")
