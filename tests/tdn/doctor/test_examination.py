from __future__ import annotations

import json
import time

import pytest

from tdn import cli
from tdn.doctor import examination
from tdn.doctor.examination import CHECKS, OUTPUT, examine, summary, write_report
from tdn.doctor.findings import fail, mistake, ok, warn
from tdn.doctor.isolation import Check
from tdn.errors import UserError

BAD = "tests.tdn.doctor.misbehaving"
SLOW = warn("b", "slow", "type this")
MIXED = [ok("a", "there"), SLOW, SLOW, fail("c", "gone", "type that")]


def test_crashing_and_hanging_checks_cost_only_themselves():
    checks = [
        Check("first", f"{BAD}:well", ("first",)),
        Check("crashing", f"{BAD}:crash"),
        Check("hanging", f"{BAD}:hang"),
        Check("last", f"{BAD}:well", ("last",)),
    ]
    shown = []
    findings = examine(checks, 5, shown.append)
    assert shown == findings
    assert [finding.level for finding in findings] == ["ok", "fail", "fail", "ok"]
    assert findings[0] == ok("well", "first")
    assert [finding.name for finding in findings[1:3]] == ["crashing", "hanging"]
    assert findings[3] == ok("well", "last")


def test_all_checks_together_take_no_longer_than_is_said():
    began = time.monotonic()
    (finding,) = examine([Check("hanging", f"{BAD}:hang")], 60, total=1.5, late="warn")
    assert finding.level == "warn"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("gpu", [True, False])
def test_checks_take_turns_on_a_gpu(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "has_gpu", lambda: gpu)
    checks = [Check("n", f"{BAD}:be_alone", (str(tmp_path),), on_gpu=True) for _ in range(4)]
    names = {finding.name for finding in examine(checks, 120)}
    if gpu:
        assert names == {"alone"}


def test_every_check_is_a_function_of_its_own():
    assert len({check.function for check in CHECKS}) == len(CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_a_line_for_a_finding_and_one_for_its_remedy():
    lines = [str(finding).splitlines() for finding in MIXED]
    assert [line[0].split()[:2] for line in lines[1:]] == [["warn", "b"]] * 2 + [["fail", "c"]]
    assert [line.split() for line in lines[0]] == [["ok", "a", "there"]]
    assert lines[3][1].strip() == "-> type that"
    assert lines[3][1].startswith(" ")


@pytest.mark.parametrize("level", [warn, fail])
def test_what_others_say_in_lines_is_one(level):
    finding = level("a", "broken:\n  here\n", "type\n this")
    assert finding[2:] == ("broken: here", "type this")
    assert ok("a", "there\n").found == "there"


def test_a_mistake_is_what_is_wrong_and_what_to_do():
    finding = mistake("data", UserError("list.txt: no such file; check the path; or not"))
    assert finding == fail("data", "list.txt: no such file", "check the path; or not")
    assert mistake("data", UserError("list.txt: is bad")).remedy


def test_the_summary_counts():
    assert summary(MIXED) == "1 ok, 2 warnings, 1 failed"
    assert summary(MIXED[:2]) == "1 ok, 1 warning, nothing failed"
    assert "nothing failed" in summary(MIXED[:1])


def test_the_report_is_json(tmp_path):
    path = tmp_path / "new" / "report.json"
    write_report(MIXED, path)
    report = json.loads(path.read_text())
    assert report["failed"] == 1
    assert report["findings"][3] == {
        "level": "fail",
        "name": "c",
        "found": "gone",
        "remedy": "type that",
    }


def test_a_report_that_cannot_be_written_is_a_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_report(MIXED, tmp_path / "file" / "report.json")


@pytest.mark.parametrize(("findings", "status"), [(MIXED[:1], 0), (MIXED[:3], 0), (MIXED, 1)])
def test_only_failures_fail_the_command(findings, status, monkeypatch, capsys, tmp_path):
    def examined(checks, seconds, show):
        assert checks == (*CHECKS, OUTPUT)
        for finding in findings:
            show(finding)
        return findings

    monkeypatch.setattr(examination, "examine", examined)
    report = tmp_path / "report.json"
    assert cli.main(["doctor", "--json", str(report)]) == status
    out = capsys.readouterr().out
    assert all(str(finding) in out for finding in findings)
    assert len(json.loads(report.read_text())["findings"]) == len(findings)


def test_the_command_passes_a_configuration_on(monkeypatch):
    seen = []
    monkeypatch.setattr(examination, "examine", lambda checks, *_: seen.extend(checks) or [])
    words = ["doctor", "--seconds", "5", "--config", "a.yaml", "--data.train_list", "list.txt"]
    assert cli.main(words) == 0
    assert seen[-1].arguments == ("a.yaml", "--data.train_list", "list.txt")
    assert seen[:-1] == list(CHECKS)


@pytest.mark.parametrize(
    "words", [["--seconds", "0"], ["--data.train_list", "list.txt"], ["--jason", "x"]]
)
def test_mistakes_are_one_line(words, capsys):
    assert cli.main(["doctor", *words]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert words[0] in captured.err
    assert captured.out == ""


def test_this_machine(capsys, tmp_path):
    """A real examination: whatever the machine lacks, the installation is whole."""
    path = tmp_path / "report.json"
    status = cli.main(["doctor", "--seconds", "250", "--json", str(path)])
    findings, out = json.loads(path.read_text())["findings"], capsys.readouterr().out
    assert status == int(any(finding["level"] == "fail" for finding in findings))
    levels = {finding["name"]: finding["level"] for finding in findings}
    for name in ("python", "packages", "gloo", "triton", "dali", "video", "jpeg", "kernels"):
        assert levels[name] == "ok", findings
    assert not [finding for finding in findings if "its check" in finding["found"]]
    for finding in findings:
        assert finding["found"]
        assert bool(finding["remedy"]) == (finding["level"] != "ok")
        assert finding["found"] in out
