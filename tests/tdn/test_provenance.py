from __future__ import annotations

import hashlib
import re
import subprocess

import pytest

from tdn import provenance
from tdn.errors import UserError
from tdn.provenance import commit, sha256


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A repository with a package that is committed in it."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "provenance.py").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    monkeypatch.setattr(provenance, "_FOLDER", folder)
    return folder


def test_the_commit_and_whether_files_differ(package):
    clean = commit()
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    results = package.parent / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "speed.jsonl").touch()
    (package.parent / "slurm-7.out").touch()
    assert commit() == clean
    (package / "provenance.py").write_text("changed")
    assert commit() == f"{clean}-dirty"


def test_a_package_that_is_only_installed_in_a_repository_has_no_commit(package, monkeypatch):
    installed = package.parent / "site-packages"
    installed.mkdir()
    (installed / "provenance.py").touch()
    monkeypatch.setattr(provenance, "_FOLDER", installed)
    assert commit() == "unknown"
    monkeypatch.setattr(provenance, "_FOLDER", package.parent / "nowhere")
    assert commit() == "unknown"


def test_checksums(tmp_path):
    (tmp_path / "file").write_bytes(b"a" * 5_000_000)
    assert sha256(tmp_path / "file") == hashlib.sha256(b"a" * 5_000_000).hexdigest()
    with pytest.raises(UserError, match="nowhere"):
        sha256(tmp_path / "nowhere")
