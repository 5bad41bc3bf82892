"""The rules of the tree: no import runs in a circle, folders say what they hold, nothing grows.

Read from the source alone. What each folder may import is in docs/architecture.md, and is compared
with the code by tests/docs/test_architecture.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOMES = {"tdn.kernels": "kernels", "tdn.pipelines": "pipelines", "tdn": "tdn"}
"""Packages that are installed, and their folders; the longest name first."""
LINKS = (ROOT / "tdn/kernels", ROOT / "tdn/pipelines")
"""To folders that have names of their own."""
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
"""Lines; of a function without its arguments and its docstring."""
BEYOND = {"_features_kernel", "_differences_kernel", "_gated_mix_kernel"}
"""Passes over memory that Triton wants in one piece."""


@cache
def sources() -> dict[str, Path]:
    """Every module by its name, those of the benchmarks too."""
    found = {}
    for package, home in {**HOMES, "benchmarks": "benchmarks"}.items():
        for path in (ROOT / home).rglob("*.py"):
            if not any(path.is_relative_to(link) for link in LINKS):
                name = ".".join((package, *path.relative_to(ROOT / home).with_suffix("").parts))
                found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements(block: ast.AST) -> Iterator[ast.stmt]:
    """All in it, functions' too, and what only a type checker sees."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(block, part, ()):
            if isinstance(node, ast.stmt):
                yield node
            yield from statements(node)


def imported(tree: ast.Module) -> Iterator[str]:
    """Names of our modules."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            module = name if name in sources() else name.rpartition(".")[0]
            if module in sources():
                yield module


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """What is left when all that leads nowhere or starts nowhere is taken away, again and again."""
    left = dict(arrows)
    while True:
        entered: set[str] = set().union(*left.values())
        kept = {name: to & left.keys() for name, to in left.items() if name in entered}
        kept = {name: to for name, to in kept.items() if to & kept.keys()}
        if kept == left:
            return sorted(left)
        left = kept


def test_no_import_runs_in_a_circle():
    """One in the middle of a function counts as much."""
    arrows = {name: set(imported(tree_of(path))) - {name} for name, path in sources().items()}
    assert sum(map(len, arrows.values())) > 1000
    assert circles(arrows) == []


def test_a_circle_is_seen():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert circles(arrows) == ["b", "c"]


def packages() -> list[Path]:
    return sorted({path.parent for path in sources().values()})


@pytest.mark.parametrize("folder", packages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_says_what_lives_there(folder):
    text = ast.get_docstring(tree_of(folder / "__init__.py"))
    assert text
    assert len(text) > 40
    code = "".join(p.read_text() for p in folder.rglob("*.py") if p != folder / "__init__.py")
    for word in re.findall(r"``(\w+)``", text):
        named = (folder / word).is_dir() or (folder / f"{word}.py").exists()
        assert named or re.search(rf"\b{word}\b", code), f"{word}: nothing is called so"


def test_no_file_is_too_long():
    long = {
        str(path.relative_to(ROOT)): length
        for path in (*sources().values(), *(ROOT / "tests").rglob("*.py"))
        if (length := path.read_text().count("\n")) > LONGEST_FILE
    }
    assert long == {}


def test_a_function_fits_a_screen():
    long = []
    for path in sources().values():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1 if ast.get_docstring(node) else 0 :] or node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                if lines > LONGEST_FUNCTION and node.name not in BEYOND:
                    long.append((str(path.relative_to(ROOT)), node.name, lines))
    assert long == []


@pytest.mark.parametrize("home", [*HOMES.values(), "benchmarks"])
def test_tests_stand_where_what_they_test_stands(home):
    modules: dict[str, set[str]] = {}
    for path in sources().values():
        if path.is_relative_to(ROOT / home):
            place = str(path.parent.relative_to(ROOT / home))
            modules.setdefault(path.stem, set()).add(place)
            modules.setdefault("", set()).add(place)
    tests = list((ROOT / "tests" / home).rglob("test_*.py"))
    assert tests
    for path in tests:
        place = str(path.parent.relative_to(ROOT / "tests" / home))
        tested = path.stem.removeprefix("test_")
        assert place in modules[""], path
        assert place in modules.get(tested, {place}) or tested == path.parent.name, path
