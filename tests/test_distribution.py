"""The wheel and the sdist: complete, no more, and they run where there is no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import tdn

ROOT = Path(__file__).parents[1]
HOMES = {"kernels/": "tdn/kernels/", "pipelines/": "tdn/pipelines/", "configs/": "tdn/configs/"}
"""Folders of a checkout, and what they are in the wheel."""
LINKS = ("tdn/configs", "tdn/kernels", "tdn/pipelines")
NOT_IN_SDIST = ("tests/", "benchmarks/", ".", "Makefile", *LINKS)
"""What it takes to develop."""
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
RUN = """
import sys
from importlib.resources import files
from pathlib import Path

import tdn
from tdn.cli import main
from tdn.kernels import backend
from tdn.pipelines import loader

home = Path(sys.argv[1])
assert all(Path(module.__file__).is_relative_to(home) for module in (tdn, backend, loader))
assert "<html" in (files("tdn.report") / "page.html").read_text()
sys.exit(main(["summary", "--config", "configs/demo.yaml"]) or main(["verify"]))
"""


def tracked() -> set[str]:
    """What git knows of the product."""
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    return {name for name in listed.splitlines() if (ROOT / name).exists()}


def build(what: str, source: Path, folder: Path) -> Path:
    """Build a wheel or an sdist as pip does; gives the file."""
    folder.mkdir()
    words = [sys.executable, "-c", BUILD, f"build_{what}", folder]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Of a copy of what git knows: building leaves files behind."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "source" / name, follow_symlinks=False)
    return build("sdist", folder / "source", folder / "built")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Of the unpacked sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / f"tdn-{tdn.__version__}", folder / "built")


def test_the_sdist_has_what_it_takes_to_install_and_to_read(sdist):
    assert sdist.name == f"tdn-{tdn.__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        files = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    made = {name for name in files if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert files - made == {name for name in tracked() if not name.startswith(NOT_IN_SDIST)}


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name for name in tracked() - {*LINKS} if name.startswith("tdn/")}
    for home, place in HOMES.items():
        expected |= {place + n.removeprefix(home) for n in tracked() if n.startswith(home)}
    assert files == expected


def test_the_wheel_runs_where_there_is_no_checkout(wheel, tmp_path):
    """Its recipes too."""
    home = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", home, wheel], check=True)
    environment = os.environ | {"PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}
    away = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    told = subprocess.run([home / "bin" / "tdn", "--version"], **away)
    assert told.stdout == f"tdn {tdn.__version__}\n", told.stderr
    done = subprocess.run([sys.executable, "-c", RUN, home], **away)
    assert done.returncode == 0, done.stderr
    assert "S-TDM" in done.stdout
    assert "ssv1_r50_8f" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"installed"}


def test_the_version_stands_in_one_place():
    """What has to repeat it, agrees."""
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(\d.*?)\]", changes, re.MULTILINE)[0] == tdn.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == tdn.__version__
    for folder in ("docs", "launch"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in (".md", ".yaml", ".sh", ""):
                tags = set(re.findall(r"/tdn:(\d+\.\d+\.\d+)", path.read_text()))
                assert tags <= {tdn.__version__}, path


def test_types_and_style_are_checked_for_the_oldest_python_that_it_installs_with():
    settings = (ROOT / "pyproject.toml").read_text()
    (oldest,) = re.findall(r'python_requires=">=3\.(\d+)"', (ROOT / "setup.py").read_text())
    assert re.findall(r'^python_version = "3\.(\d+)"', settings, re.MULTILINE) == [oldest]
    assert re.findall(r'^target-version = "py3(\d+)"', settings, re.MULTILINE) == [oldest]


def test_where_to_clone_from_is_told_in_one_place():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    texts = {str(page.relative_to(ROOT)): page.read_text() for page in pages}
    cloned = re.findall(r"git clone ([^\s`]+)", " ".join(texts.values()))
    assert set(cloned) == {"URL"}
    assert [name for name, text in texts.items() if "git remote get-url" in text] == ["README.md"]


def test_the_changelog_is_kept_as_such_files_are():
    """As keepachangelog.com says: newest first, dated, changes in groups."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert all(date for _, date in versions[1:])
    assert [date for _, date in versions[1:]] == sorted((d for _, d in versions[1:]), reverse=True)
    groups = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= groups


def test_the_citation_names_the_software_and_the_paper():
    """The keys that citation-file-format 1.2.0 requires."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["title"]
    assert cited["message"]
    assert cited["license"] in (ROOT / "setup.py").read_text()
    assert cited["type"] == "software"
    assert cited["authors"] == [{"name": "TDN maintainers"}]
    (paper,) = cited["references"]
    assert paper["title"].startswith("TDN: Temporal Difference Networks")
    for people in (cited["authors"], paper["authors"]):
        assert all("name" in person or person["family-names"] for person in people)
