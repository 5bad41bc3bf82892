"""What the pages name is there: keys, options, files, variables, links. And how pages look."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from tdn import cli
from tdn.config_loading import config_parser
from tests.docs.pages import FENCE, PAGES, ROOT, anchors, prose, spans

SECTIONS = "model|data|evaluation|optimizer|schedule|training|logging"
KEY = re.compile(rf"(?:--)?((?:{SECTIONS})(?:\.[a-z_]+)+)(?:(?:: ?| )(.+))?")
FOLDERS = "benchmarks|configs|docs|kernels|launch|pipelines|tdn|tests"
FILE = re.compile(rf"(?:{FOLDERS})/[\w./-]*")
SCRIPTS = ("launch/*", "benchmarks/*.py", "benchmarks/*/*.py")
"""With options of their own."""
FOREIGN = {
    "sbatch": ("--array", "--nodes", "--partition", "--gpus-per-node", "--time"),
    "scancel": ("--signal",),
    "py-spy": ("--pid",),
    "tensorboard": ("--logdir",),
    "pip": ("--force-reinstall", "--index-url"),
    "any of ours": ("--section.key",),
}
"""Options of programs that are not ours."""


TO_WRITE = ("kernels/motion.py",)
"""Files that a page tells to write."""


@functools.cache
def sources() -> str:
    """All that is ours, but the pages and these tests."""
    files = [path for folder in FOLDERS.split("|") for path in (ROOT / folder).rglob("*")]
    ours = [p for p in files if p.suffix in (".py", ".sh", ".sbatch", ".yaml") and _is_source(p)]
    return "\n".join(path.read_text() for path in [*ours, ROOT / "Makefile"])


def _is_source(path: Path) -> bool:
    return path.parts[len(ROOT.parts) :][:2] != ("tests", "docs")


@functools.cache
def options(*command: str) -> frozenset[str]:
    """A command's options, as its help shows them."""
    module = cli._command(command) if command else cli
    known = set()
    for name in getattr(module, "COMMANDS", ()):
        known |= options(*command, name)
    if hasattr(module, "add_arguments"):
        parser = cli._Parser(add_help=True)
        module.add_arguments(parser)
        known |= set(parser._option_string_actions)
        if getattr(module, "CONFIGURED", False):
            known |= {"--config", *keys()}
    return frozenset(known)


@functools.cache
def keys() -> frozenset[str]:
    """All keys of the configuration, as options."""
    return frozenset(config_parser()._option_string_actions)


@functools.cache
def others_options() -> frozenset[str]:
    """Those of torchrun, of scripts of ours, and of programs that are not ours."""
    known = {name for a in get_args_parser()._actions for name in a.option_strings}
    text = "\n".join(f.read_text() for some in SCRIPTS for f in ROOT.glob(some) if f.is_file())
    known |= {name for names in FOREIGN.values() for name in names}
    return frozenset(known | set(re.findall(r"--[a-z][a-z-]+", text)))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def unknown_options(span: str) -> Iterator[str]:
    """The options in a piece of code that its program, or any of ours, does not have."""
    try:
        words = shlex.split(span)
    except ValueError:  # a piece of something
        words = span.split()
    given = [word.partition("=")[0] for word in words if word.startswith("--")]
    if words[:1] == ["tdn"] and len(words) > 1:
        command, rest = cli._split(words[1:])
        known = options(*command) if command else {"--help", "--version"}
        if not command and rest and rest[0].islower() and not rest[0].startswith("-"):
            yield f"tdn {rest[0]}"
    else:
        known = options() | others_options() | {"--help"}
    yield from (option for option in given if option not in known)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_names_is_there(page):
    for span in spans(page):
        for option in unknown_options(span):
            pytest.fail(f"{name(page)}: `{span}`: {option} is not known")
        if FILE.fullmatch(span):
            assert span in TO_WRITE or (ROOT / span).exists(), (
                f"{name(page)}: `{span}` is not there"
            )
        for variable in re.findall(r"\bTDN_[A-Z_]+", span):
            assert variable in sources(), f"{name(page)}: `{span}`: nobody reads {variable}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_keys_that_a_page_names_take_the_values_that_it_gives(page):
    parser = config_parser()
    for span in spans(page):
        if found := KEY.fullmatch(span):
            key, value = found.groups()
            section = any(known.startswith(f"--{key}.") for known in keys())
            assert section or f"--{key}" in keys(), f"{name(page)}: no key {key}"
            if value is not None and (value[0] in "[{" or not re.search(r" |^[A-Z]+$", value)):
                parser.parse_args([f"--{key}={value}"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", prose(page)):
        where = f"{name(page)}: [{text}]({target})"
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), where
        assert not anchor or anchor in anchors(there), where


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_says_what_it_is_for_and_has_short_lines(page):
    """Tables have long ones, and what benchmarks write."""
    text = page.read_text()
    if page.parent.name == "docs" and page.name != "README.md":
        opening = text.split("\n\n")[1]
        assert "end of this page" in opening, opening
    written = re.sub(r"<!-- (\w+): made by .*?<!-- end of \1 -->", "", text, flags=re.DOTALL)
    for line in written.splitlines():
        fits = len(line) <= 100 or line.startswith(("|", FENCE, "!["))
        assert fits, f"{name(page)}: {line}"


def test_every_page_is_in_the_index():
    listed = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in listed, page.name
