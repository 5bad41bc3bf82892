"""What cannot be tried on a machine is counted, and fails where it is asked for."""

from __future__ import annotations

import pytest

from tests.launch.real_clusters import PREFIX, summary, unavailable


def report(name: str, skipped: str | None = None) -> pytest.TestReport:
    reason = None if skipped is None else ("file.py", 1, f"Skipped: {skipped}")
    outcome = "passed" if skipped is None else "skipped"
    return pytest.TestReport(name, ("file.py", 1, name), {}, outcome, reason, "setup")


def test_a_missing_cluster_skips_its_tests_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv("TDN_NEEDS_NOTHING", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no engine here"):
        unavailable("TDN_NEEDS_NOTHING", "no engine here")
    monkeypatch.setenv("TDN_NEEDS_NOTHING", "1")
    with pytest.raises(pytest.fail.Exception, match="no engine here"):
        unavailable("TDN_NEEDS_NOTHING", "no engine here")


def test_skips_are_counted_by_their_reasons():
    reports = [report("tests/launch/test_a.py::test_one"), report("tests/tdn/test_b.py::test_two")]
    first = "tests of real clusters that were skipped:"
    assert summary(reports) == [f"{first} 0"]
    skipped = ("no engine", "no engine", "no rights")
    reports += [report("tests/launch/test_a.py::test", PREFIX + why) for why in skipped]
    reports += [report("tests/launch/test_a.py::test", "for another reason")]
    assert summary(reports) == [f"{first} 3", "  2: no engine", "  1: no rights"]


def test_a_session_without_their_tests_says_nothing():
    assert summary([report("tests/tdn/test_b.py::test_two", "for another reason")]) == []
