"""CONTRIBUTING.md and the forms of issues name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tdn.cli import COMMANDS

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_files_and_folders_are_there():
    code = re.findall(r"`([^`\s]+)`", GUIDE) + re.findall(r"\]\(([^)#]+)", GUIDE)
    paths = [name for name in code if "/" in name and not re.search(r"[<:]|^\.venv", name)]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_targets_of_make_are_there():
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    targets = re.findall(r"\bmake ([\w./-]+)", GUIDE)
    assert "test" in targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_headings_that_are_linked_are_there():
    for page, heading in re.findall(r"\]\((\S+?)#(\S+?)\)", GUIDE):
        found = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert heading in [text.lower().replace(" ", "-") for text in found]


@pytest.mark.parametrize("path", [path for path in FORMS if path.name != "config.yml"], ids=str)
def test_a_form_asks_what_it_takes(path):
    form = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for command in re.findall(r"`tdn ([a-z][a-z-]+)", path.read_text()):
        assert command in COMMANDS


def test_a_bug_comes_with_what_the_doctor_says():
    (bug,) = (yaml.safe_load(path.read_text()) for path in FORMS if path.name == "bug.yml")
    required = {
        field["id"] for field in bug["body"] if field.get("validations", {}).get("required")
    }
    assert {"what", "command", "doctor", "version"} <= required
