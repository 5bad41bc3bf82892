"""The pages of the documentation, and the blocks of code on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LANGUAGES = ("bash", "python", "yaml", "text")
FENCE = "```"


class Block(NamedTuple):
    """A block of code on a page."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    """One of `LANGUAGES`: what is run, what is loaded, and what is printed or drawn."""
    text: str
    section: str
    """The heading it stands under."""

    @property
    def place(self) -> str:
        """Where it stands, as an editor finds it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The file that a block of YAML is, by its first line; "" for none."""
        named = re.match(r"# (\S+\.yaml)\n", self.text)
        return named[1] if named else ""


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found: list[Block] = []
    section, language, code = "", None, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith(FENCE) and language is None:
            language, code = line.removeprefix(FENCE), []
        elif line == FENCE:
            text = "".join(f"{line}\n" for line in code)
            found.append(Block(page, number - len(code), language, text, section))
            language = None
        elif language is not None:
            code.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert language is None, f"{page.name}: a block does not end"
    return found


def prose(page: Path) -> str:
    """A page without its blocks, which leave empty lines."""
    text = page.read_text()
    return re.sub(rf"^{FENCE}.*?^{FENCE}$", _empty, text, flags=re.DOTALL | re.MULTILINE)


def _empty(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def spans(page: Path) -> list[str]:
    """What stands between backticks in a page's prose."""
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", prose(page))]


def anchors(page: Path) -> set[str]:
    """What links can name on a page: its headings, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}
