"""``make test`` skips no test that a browser could have run; ``make lint`` knows all scripts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import NAMES, find_browser

SLURM = ("munged", "slurmctld", "slurmd", "sbatch", "ip")
ROOT = Path(__file__).parents[1]
PROGRAMS = ("git", "make", "sh", "sort", "touch", "xargs")


@pytest.fixture
def machine(tmp_path):
    """A machine with an environment that is installed, and nothing but what make needs."""
    for name in PROGRAMS:
        program(tmp_path / "bin" / name, f'exec {shutil.which(name)} "$@"')
    program(
        tmp_path / "venv" / "bin" / "python",
        'echo "$* browser:$TDN_NEEDS_BROWSER slurm:$TDN_NEEDS_SLURM hosts:$TDN_NEEDS_HOSTS"',
    )
    for name in ("shellcheck", "hadolint"):
        program(tmp_path / "venv" / "bin" / name, "")
    (tmp_path / "venv" / "installed").touch()
    (tmp_path / "venv" / "installed-for-tests").touch()
    return tmp_path


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def apt_get(machine: Path, package: str, programs: list[Path]) -> None:
    """Let packages be installed: one of them brings programs."""
    paths = " ".join(map(str, programs))
    install = f"touch {paths}; {shutil.which('chmod')} +x {paths}"
    program(machine / "bin" / "apt-get", f"case $* in *{package}*) {install} ;; esac")


def make_test(machine: Path, user: int = 0, **environment: str) -> str:
    program(machine / "bin" / "id", f"echo {user}")
    done = subprocess.run(
        ["make", "--no-print-directory", "test", f"VENV={machine / 'venv'}", "SBIN=/nowhere"],
        cwd=ROOT,
        env={"PATH": str(machine / "bin"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_with_a_browser_none_of_its_tests_may_be_skipped(machine, name):
    program(machine / "bin" / name, "")
    assert "-n 2 --dist worksteal browser:1" in make_test(machine)


def test_a_browser_is_installed_where_that_is_possible(machine):
    installed = machine / "bin" / "chromium"
    script = (
        f"case $* in *chromium) touch {installed}; {shutil.which('chmod')} +x {installed} ;; esac"
    )
    program(machine / "bin" / "apt-get", script)
    assert "skipped" in make_test(machine, user=1000)
    assert not installed.exists()
    assert "-n 2 --dist worksteal browser:1" in make_test(machine)
    assert installed.exists()


def test_without_one_its_tests_are_skipped_but_not_in_ci(machine):
    program(machine / "bin" / "apt-get", "exit 1")
    told = make_test(machine)
    assert "skipped" in told
    assert "-n 2 --dist worksteal browser: " in told
    assert "-n 2 --dist worksteal browser:1" in make_test(machine, CI="true")


def test_slurm_is_installed_and_needed_likewise(machine):
    assert "tests of its jobs are skipped" in make_test(machine, user=1000)
    assert "slurm: " in make_test(machine, user=1000)
    assert "slurm:1 " in make_test(machine, user=1000, CI="true")
    apt_get(machine, "munge", [machine / "bin" / name for name in SLURM])
    assert "slurm:1 " in make_test(machine)
    (machine / "bin" / "ip").unlink()
    assert "slurm: " in make_test(machine, user=1000)


def test_hosts_are_needed_where_one_has_the_rights_to_make_them(machine):
    assert "hosts:\n" in make_test(machine)
    program(machine / "bin" / "ip", "")
    assert "hosts:1\n" in make_test(machine)
    program(machine / "bin" / "ip", "exit 1")
    assert "hosts:\n" in make_test(machine)


def test_where_one_is_needed_its_tests_fail_without(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TDN_NEEDS_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception):
        find_browser()
    monkeypatch.setenv("TDN_NEEDS_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception):
        find_browser()
    program(tmp_path / "chrome", "")
    assert find_browser() == str(tmp_path / "chrome")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("start.sh", "#!/bin/sh\nrm $1\n"),
        ("job.sbatch", "#!/usr/bin/env bash\nrm $1\n"),
        ("run", "#!/usr/bin/env bash\nrm $1\n"),
    ],
)
def test_a_mistake_in_any_script_that_git_knows_is_found(machine, name, text):
    clone = machine / "clone"
    clone.mkdir()
    shutil.copy(ROOT / "Makefile", clone)
    (clone / name).write_text(text)
    for command in (["git", "init", "-q"], ["git", "add", "."]):
        subprocess.run(command, cwd=clone, check=True)
    shutil.copy(Path(sys.prefix) / "bin" / "shellcheck", machine / "venv" / "bin")
    venv = machine / "venv"
    lint = ["make", "lint", f"VENV={venv}", f"--old-file={venv / 'installed-for-tests'}"]
    done = subprocess.run(lint, cwd=clone, capture_output=True, text=True)
    assert done.returncode != 0
    assert "SC2086" in done.stdout
    (clone / name).write_text(text.replace("$1", '"$1"'))
    subprocess.run(lint, cwd=clone, capture_output=True, check=True)
