"""Lines that docs/troubleshooting.md quotes are those that the program prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from tdn import cli
from tests.videos import write_video

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
FOREIGN = {
    "CUDA driver version is insufficient",
    "cudaErrorInsufficientDriver",
}
"""Said by CUDA."""
VALUE = "\0"
"""Stands for what a message has been given, as `...` does on the page."""


def quoted() -> list[str]:
    """What the page says is printed: first cells of tables headed so, and sentences in the text."""
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
    found, printed = [], False
    for line in text.splitlines():
        if line.startswith("| it "):
            printed = line.startswith("| it says")
        elif line.startswith("| `") and printed:
            found += spans(line.split(" | ")[0])
    words = spans(re.sub(r"^[|].*$", "", text, flags=re.MULTILINE))
    return found + [each for each in words if len(each.split()) > 3 and "--" not in each]


def spans(text: str) -> list[str]:
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


@cache
def messages() -> list[str]:
    """All texts in the sources, values in them replaced."""
    files = [p for home in ("tdn", "pipelines") for p in (ROOT / home).rglob("*.py")]
    return [text for file in files for text in _texts(ast.parse(file.read_text()))]


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else VALUE for p in node.values)
        yield "".join(map(str, parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"%[a-z]", VALUE, node.value)
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def is_printed(line: str) -> bool:
    """Whether a message can read so: each piece between `...` stands in it, in order."""
    return any(_pattern(line).search(text) for text in messages())


def _pattern(line: str) -> re.Pattern[str]:
    pieces = (re.escape(piece.strip()) for piece in line.split("..."))
    return re.compile(".*".join(pieces), re.DOTALL)


@pytest.mark.parametrize("line", [line for line in quoted() if line not in FOREIGN])
def test_a_quoted_line_is_in_the_sources(line):
    assert is_printed(line)


@pytest.mark.parametrize("videos", [[], ["a/1"], ["a/1", "b/1"]], ids=["flat", "one", "alone"])
def test_a_folder_that_does_not_do_prints_a_quoted_line(here, videos, tmp_path, capsys):
    for name in videos or ["1"]:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / f"{name}.mp4").write_bytes((here / "a.mp4").read_bytes())
    words = ["train", "--data.root", str(tmp_path / "videos"), "--output", str(tmp_path / "run")]
    assert cli.main(words) == 2
    *_, said = capsys.readouterr().err.strip().splitlines()
    assert any(_pattern(line).search(said) for line in quoted() if len(line) > 20), said


def test_enough_is_quoted_and_foreign_lines_are_rare():
    assert len(quoted()) > 35
    assert set(quoted()) >= FOREIGN
    assert not is_printed("...: this is printed nowhere; ...")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Two videos, lists with and without mistakes, and a small network's weights."""
    folder = tmp_path_factory.mktemp("here")
    write_video(folder / "a.mp4", 12, codec="h264")
    (folder / "train.txt").write_text("a.mp4 0\n")
    (folder / "labels.txt").write_text("a.mp4 7\n")
    (folder / "lost.txt").write_text("b.mp4 0\n")
    (folder / "words.txt").write_text("a.mp4 zero\n")
    (folder / "my.yaml").write_text(
        "model: {name: tdn_resnet10, num_classes: 2, width: 8}\n"
        f"data: {{train_list: {folder}/train.txt, validation_list: {folder}/train.txt}}\n"
    )
    torch.save({"state": torch.zeros(1)}, folder / "other.pt")
    return folder


MISTAKES = {
    "unknown option ...": "--data.train_lists {here}/train.txt",
    "no such list file; check the path": "--data.train_list {here}/none.txt",
    "is not 'path label' or 'path frames label'": "--data.train_list {here}/words.txt",
    "none of its ... videos is usable, the first one": "--data.train_list {here}/lost.txt",
    "is not among the ... classes": "--data.train_list {here}/labels.txt",
    "are fewer than one batch of": "--data.batch_size 2",
    "there is no ...a name is one of": "--model.name tdn_resnet5",
    "data...is empty; give the list of its videos": "--data.validation_list ''",
}
"""What the page quotes, and the words that bring it about."""


@pytest.mark.parametrize(("line", "words"), MISTAKES.items(), ids=lambda text: text[:30])
def test_a_mistake_prints_the_line_that_the_page_quotes(here, capsys, line, words, tmp_path):
    assert line in quoted()
    given = words.format(here=here).replace("''", "").split(" ")
    common = ["--config", str(here / "my.yaml"), "--output", str(tmp_path / "run")]
    assert cli.main(["train", *common, *given]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert _pattern(line).search(said), said
