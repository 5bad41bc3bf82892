"""Python and the packages: there, and of versions that the product takes."""

from __future__ import annotations

import ast
import importlib.metadata as metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tdn.doctor.findings import Finding, fail, ok
from tdn.doctor.remedies import ROOT, install, pip


class Needs(NamedTuple):
    """What the product needs."""

    python: str
    """Such as ">=3.10"."""
    packages: Sequence[str]
    """Requirements, such as "av>=14"."""


def needs() -> Needs:
    """From setup.py in a checkout, else from the installed package."""
    recipe = ROOT / "setup.py"
    if recipe.exists():
        return needs_of_recipe(recipe.read_text(encoding="utf-8"))
    required = metadata.requires("tdn") or []
    python = metadata.metadata("tdn")["Requires-Python"]
    return Needs(python, [text for text in required if "extra ==" not in text])


def needs_of_recipe(recipe: str) -> Needs:
    """What a setup.py declares, read without running it."""
    calls = (node for node in ast.walk(ast.parse(recipe)) if isinstance(node, ast.Call))
    values = {word.arg: word.value for call in calls for word in call.keywords}
    return Needs(
        ast.literal_eval(values["python_requires"]), ast.literal_eval(values["install_requires"])
    )


def check_python() -> Iterator[Finding]:
    """Look at Python."""
    yield judge_python(platform.python_version(), needs().python)


def judge_python(version: str, needed: str) -> Finding:
    """What to say of a Python, such as "3.12.3", where ">=3.10" is needed."""
    lowest = re.sub(r"[^0-9.]", "", needed)
    if _numbers(version) >= _numbers(lowest):
        return ok("python", f"{version} (needs {needed})")
    return fail(
        "python",
        f"{version}, but {needed} is needed",
        f"python3.12 -m venv .venv && .venv/bin/python {install().partition(' ')[2]}",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check_packages() -> Iterator[Finding]:
    """Look at the packages."""
    names = {_name(text) for text in needs().packages}
    distributions = metadata.distributions()
    found = {_plain(each.metadata["Name"] or ""): each.version for each in distributions}
    dalis = [name for name in found if name.startswith("nvidia-dali-")]
    yield from judge_packages(
        needs().packages, {name: found[name] for name in found if name in {*names, *dalis}}
    )


def judge_packages(needed: Sequence[str], versions: Mapping[str, str]) -> Iterator[Finding]:
    """What to say of installed packages.

    Args:
        needed: Requirements, such as "av>=14".
        versions: Installed versions of these, and of all packages of DALI, by name.
    """
    missing = [text for text in needed if _name(text) not in versions]
    if missing:
        yield fail("packages", f"not installed: {', '.join(missing)}", install())
    if "packaging" not in versions:
        return
    from packaging.requirements import Requirement

    fitting = []
    for requirement in (Requirement(text) for text in needed if text not in missing):
        name = _plain(requirement.name)
        version = versions[name]
        if not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}, but {requirement.specifier} is needed"
            yield fail(name, found, install("--upgrade", str(requirement)))
        else:
            fitting.append(f"{name} {version}")
        if name.startswith("nvidia-dali-"):
            yield from _judge_dalis(name, str(requirement), versions)
    if fitting:
        yield ok("packages", ", ".join(fitting))


def _judge_dalis(name: str, requirement: str, versions: Mapping[str, str]) -> Iterator[Finding]:
    """DALI for another version of CUDA is a package of another name with the same files."""
    others = [other for other in versions if other.startswith("nvidia-dali-") and other != name]
    if others:
        removal = pip("uninstall", "--yes", name, *others)
        yield fail(
            "dali builds",
            f"{', '.join(others)} is installed too, and its files overwrite those of {name}",
            f"{removal} && {install(requirement)}",
        )


def _name(requirement: str) -> str:
    return _plain(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def _plain(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
