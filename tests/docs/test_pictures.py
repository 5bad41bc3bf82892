"""``make pictures``: small files, by commands that exist."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from tdn import cli

ROOT = Path(__file__).parents[2]
LARGEST = 300_000
"""Bytes of a picture: all pages together load in a moment."""


@pytest.fixture
def pictures(monkeypatch, tmp_path):
    """The script, with folders of its own."""
    specification = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    for name in ("PICTURES", "DEMO"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(script, name, folder)
    return script


def test_those_of_the_pages_are_small():
    files = list((ROOT / "docs/pictures").iterdir())
    assert {file.name for file in files} >= {"architecture.svg", "cam.webp", "demo.webp"}
    assert all(file.stat().st_size <= LARGEST for file in files)


def test_they_need_a_finished_demo(pictures, capsys):
    assert pictures.main() == 2
    assert "make demo" in capsys.readouterr().err


def test_all_are_made(pictures, monkeypatch):
    commands = []
    monkeypatch.setattr(pictures, "run", lambda *words: commands.append([str(w) for w in words]))
    (pictures.DEMO / "summary.json").touch()
    for name in ("predictions", "cam"):
        Image.effect_noise((64, 64), 50).convert("RGB").save(pictures.DEMO / f"{name}.png")
    assert pictures.main() == 0
    made = {file.name for file in pictures.PICTURES.iterdir()}
    drawn = {Path(word).name for words in commands for word in words if word.endswith(".svg")}
    assert made | drawn == {file.name for file in (ROOT / "docs/pictures").iterdir()}
    for words in commands:
        cli.read_options(words)
