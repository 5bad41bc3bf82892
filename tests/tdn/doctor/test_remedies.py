from __future__ import annotations

import shlex
import sys

import pytest

from tdn.doctor import gpus, remedies
from tdn.doctor.remedies import install, pip


def test_pip_is_that_of_the_running_python(monkeypatch):
    monkeypatch.setattr(remedies.shutil, "which", lambda _: sys.executable)
    assert shlex.split(pip("list")) == ["python", "-m", "pip", "list"]
    for other in (None, "/usr/bin/no-such-python"):
        monkeypatch.setattr(remedies.shutil, "which", lambda _, other=other: other)
        assert shlex.split(pip("list")) == [sys.executable, "-m", "pip", "list"]


def test_packages_are_installed_in_the_tested_versions(monkeypatch, tmp_path):
    words = shlex.split(install("av>=14"))
    assert words[-1] == "av>=14"
    assert (remedies.ROOT / "constraints.txt").samefile(words[words.index("--constraint") + 1])
    assert "--force-reinstall" in install("av", again=True)
    assert remedies.ROOT.samefile(shlex.split(install())[-1])
    monkeypatch.setattr(remedies, "ROOT", tmp_path)
    assert shlex.split(install())[-2:] == ["install", "tdn"]


@pytest.mark.parametrize(
    ("visible", "hidden"), [("", True), ("-1", True), ("0", False), ("1,2", False), (None, False)]
)
@pytest.mark.parametrize("present", [True, False])
def test_a_gpu_counts_unless_it_is_hidden(visible, hidden, present, monkeypatch):
    monkeypatch.setattr(gpus, "is_present", lambda: present)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.has_gpu() == (present and not hidden)
