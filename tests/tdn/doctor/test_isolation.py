from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tdn.doctor.findings import Finding, ok
from tdn.doctor.isolation import Check, carry_out

BAD = "tests.tdn.doctor.misbehaving"
PATIENCE = 120.0


def findings_of(name: str, *arguments: str, seconds: float = PATIENCE) -> list[Finding]:
    check = Check(f"the {name} check", f"{BAD}:{name}", arguments)
    return asyncio.run(carry_out(check, seconds))


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_an_answer_and_its_arguments_arrive():
    assert findings_of("well", "two words", "é") == [ok("well", "two words é")]


@pytest.mark.parametrize(("name", "signal"), [("crash", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_crash_is_a_finding(name, signal):
    finding = only(findings_of(name))
    assert finding.level == "fail"
    assert finding.name == f"the {name} check"
    assert signal in finding.found
    assert f"{BAD}:{name}" in finding.remedy


def test_a_crash_repeats_what_the_library_said():
    assert "std::bad_alloc" in only(findings_of("abort")).found


def test_a_hang_is_a_finding():
    finding = only(findings_of("hang", seconds=1))
    assert finding.level == "fail"
    assert "1 s" in finding.found
    assert "--seconds" in finding.remedy


def test_a_hang_ends_with_all_that_it_started(tmp_path):
    note = tmp_path / "child"
    began = time.monotonic()
    finding = only(findings_of("hang_with_child", str(note), seconds=5))
    assert finding.level == "fail"
    assert time.monotonic() - began < PATIENCE
    for _ in range(100):
        if not _is_running(int(note.read_text())):
            return
        time.sleep(0.1)
    pytest.fail("the child still runs")


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_exception_is_a_finding_on_one_line():
    finding = only(findings_of("raise_error"))
    assert finding.level == "fail"
    assert "not even this" in finding.found
    assert "\n" not in str(finding.found) + finding.remedy


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    finding = only(findings_of("miss_module"))
    assert finding.level == "fail"
    assert "tdn.no_such_library" in finding.found
    assert "pip install" in finding.remedy


def test_a_missing_library_is_named():
    finding = only(findings_of("miss_library"))
    assert finding.level == "fail"
    assert "libnosuchthing.so.7" in finding.found
    assert "--force-reinstall" in finding.remedy


def test_what_libraries_print_does_not_spoil_the_answer():
    assert findings_of("chatter") == [ok("chatter", "said")]


def test_a_crash_after_the_answer_does_not_count():
    assert findings_of("crash_at_exit") == [ok("late", "answered")]


def test_checks_find_the_package_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert findings_of("well", "here") == [ok("well", "here")]
    assert list(tmp_path.iterdir()) == []
