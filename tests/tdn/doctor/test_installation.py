from __future__ import annotations

import ast
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tdn.doctor import installation
from tdn.doctor.installation import judge_packages, judge_python, needs, needs_of_recipe

NEEDED = ["torch>=2.11", "nvidia-dali-cuda130>=2.4", "pyyaml>=6", "packaging>=23"]
FITTING = {"torch": "2.13.0+cpu", "nvidia-dali-cuda130": "2.4.0", "pyyaml": "6.0.3"}
FITTING |= {"packaging": "26.3"}


def levels(**versions):
    findings = list(judge_packages(NEEDED, {**FITTING, **versions}))
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("version", "level"),
    [("3.10.0", "ok"), ("3.11.7", "ok"), ("3.13.0rc1", "ok"), ("4.0", "ok"), ("3.9.18", "fail")],
)
def test_python_is_new_enough(version, level):
    finding = judge_python(version, ">=3.10")
    assert finding.level == level
    assert version in finding.found
    assert ("venv" in finding.remedy) == (level == "fail")


def test_packages_that_fit_are_named_with_their_versions():
    (finding,) = levels().values()
    assert finding.level == "ok"
    assert all(f"{name} {version}" in finding.found for name, version in FITTING.items())


def test_a_missing_package():
    versions = {name: version for name, version in FITTING.items() if name != "pyyaml"}
    first, second = judge_packages(NEEDED, versions)
    assert first.level == "fail"
    assert "pyyaml>=6" in first.found
    assert "torch" not in first.found
    assert "pip install" in first.remedy
    assert second.level == "ok"


def test_without_packaging_the_missing_packages_are_still_named():
    (finding,) = judge_packages(NEEDED, {"torch": "2.13.0"})
    assert finding.level == "fail"
    assert "packaging>=23" in finding.found
    assert "pyyaml>=6" in finding.found


@pytest.mark.parametrize("version", ["2.9.0", "2.10.9+cu130", "1.13.1"])
def test_a_package_that_is_too_old(version):
    finding = levels(torch=version)["torch"]
    assert finding.level == "fail"
    assert version in finding.found
    assert "'torch>=2.11'" in finding.remedy
    assert "torch" not in levels(torch=version)["packages"].found


@pytest.mark.parametrize("version", ["2.11.0a0+git1", "2.14.0.dev20261120+cu130"])
def test_a_build_from_source_counts_as_its_version(version):
    fits = version.startswith("2.14")
    assert ("torch" in levels(torch=version)) is not fits


def test_two_builds_of_dali():
    finding = levels(**{"nvidia-dali-cuda120": "1.50.0"})["dali builds"]
    assert finding.level == "fail"
    assert "nvidia-dali-cuda120" in finding.found
    assert "uninstall" in finding.remedy
    assert "'nvidia-dali-cuda130>=2.4'" in finding.remedy


def test_what_is_needed_is_what_setup_py_says():
    recipe = Path(installation.ROOT, "setup.py").read_text()
    found = needs_of_recipe(recipe)
    assert found == needs()
    assert found.python == ">=3.10"
    assert any(text.startswith("av>=") for text in found.packages)
    assert all(Requirement(text).specifier for text in found.packages)
    assert "timm" not in " ".join(found.packages)
    ast.parse(recipe)


def test_what_is_needed_is_known_without_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.setattr(
        installation.metadata, "requires", lambda _: ["av>=14", 'timm>=1.0; extra == "timm"']
    )
    monkeypatch.setattr(installation.metadata, "metadata", lambda _: {"Requires-Python": ">=3.10"})
    assert needs() == (">=3.10", ["av>=14"])


def test_the_installed_packages_are_found():
    (finding,) = installation.check_packages()
    assert finding.level == "ok"
    assert len(finding.found.split(", ")) == len(needs().packages)
