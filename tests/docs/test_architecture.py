"""docs/architecture.md says where things are and who imports whom: compared with the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
HOMES = {"tdn.kernels": "kernels", "tdn.pipelines": "pipelines", "tdn": "tdn"}
"""Packages and their folders, the longest name first."""
FREE = ("tdn/commands/", "benchmarks/", "tests/", "configs/", "launch/")
"""Rows that name no folders; the first has a test of its own."""


def table(section: str) -> list[list[str]]:
    """The rows of a section's table, without its head."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def defined(file: str) -> set[str]:
    """Names of a module, of its classes and of their methods."""
    names = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        for target in _names(node):
            names.add(target)
            if isinstance(node, ast.ClassDef):
                names |= {f"{target}.{name}" for part in node.body for name in _names(part)}
    return names


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    for target in getattr(node, "targets", [getattr(node, "target", None)]):
        if isinstance(target, ast.Name):
            yield target.id


@pytest.mark.parametrize(("what", "file", "names"), table("Where to find it"))
def test_things_are_where_the_page_says(what, file, names):
    (path,) = spans(file)
    assert (ROOT / path).is_file()
    assert set(spans(names)) <= (defined(path) if path.endswith(".py") else set())


def test_the_way_of_a_clip_names_files_that_are_there():
    drawing = PAGE.split("## From a list's line to the loss")[1].split("```text")[1].split("```")[0]
    files = re.findall(r"\w+/[\w/]+\.py", drawing)
    assert len(files) >= 20
    assert [file for file in files if not (ROOT / file).is_file()] == []


@cache
def imports() -> dict[str, set[str]]:
    """What files import of ours: files, by file."""
    paths = [p for home in ("kernels", "pipelines", "tdn") for p in (ROOT / home).rglob("*.py")]
    found: dict[str, set[str]] = {}
    for path in paths:
        file = str(path.relative_to(ROOT))
        if not file.startswith(("tdn/kernels/", "tdn/pipelines/")):  # links to the real folders
            nodes = ast.walk(ast.parse(path.read_text()))
            found[file] = {f for node in nodes for f in _imported(node)}
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        if name.split(".")[0] in ("tdn", "benchmarks", "tests"):
            yield _file(name)


def _file(name: str) -> str:
    """The file of a module, or of the module that a name is in."""
    for package, home in HOMES.items():
        if f"{name}.".startswith(f"{package}."):
            path = home + name[len(package) :].replace(".", "/")
            for candidate in (f"{path}.py", f"{path}/__init__.py"):
                if (ROOT / candidate).is_file():
                    return candidate
    return _file(name.rpartition(".")[0]) if "." in name else f"{name}/__init__.py"


def folder(file: str) -> str:
    """The row of the page's table that a file belongs to."""
    first, *rest = file.split("/")
    return f"{first}/{rest[0]}/" if first == "tdn" and len(rest) > 1 else f"{first}/"


FOLDERS = {spans(row[0])[0]: spans(row[2]) for row in table("Folders, and what they may import")}


def test_every_folder_has_a_row():
    assert {folder(file) for file in imports()} <= set(FOLDERS)


@pytest.mark.parametrize("name", [name for name in FOLDERS if name not in FREE])
def test_a_folder_imports_what_the_page_says_and_no_less(name):
    used = {
        other if other in FOLDERS[name] else folder(other)
        for file, others in imports().items()
        if folder(file) == name
        for other in others
    } - {name}
    assert used == set(FOLDERS[name])


def test_nothing_imports_commands_benchmarks_or_tests():
    outside = ("tdn/commands/", "benchmarks/", "tests/")
    found = {
        (file, other)
        for file, others in imports().items()
        for other in others
        if folder(other) in outside and folder(file) != "tdn/commands/"
    }
    assert found == set()
