"""docs/api.md has all that is public, as the docstrings have it now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import tdn
from tdn.config_loading import known_keys
from tdn.launcher.statuses import TOLD

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def api():
    specification = importlib.util.spec_from_file_location("api", ROOT / "docs/api.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def page(api):
    return api.page()


def test_it_is_current(api, page):
    assert page == api.PAGE.read_text(), "run python docs/api.py"


def test_it_has_every_public_name_and_key(page):
    names = {name for name in tdn.__all__ if not name.startswith("__")} - {"UserError"}
    assert {name for name in names if f"### `tdn.{name}`" not in page} == set()
    assert {key for key in known_keys() if f"| `{key}` |" not in page} == set()


def test_it_has_the_statuses_that_a_process_tells(api):
    assert set(api.STATUSES) == TOLD


def test_a_docstring_that_changes_makes_it_old(api, page, monkeypatch, capsys):
    monkeypatch.setattr(tdn.list_models, "__doc__", "Other words.")
    assert api.page() != page
    assert api.main(["--check"]) == 1
    assert "python docs/api.py" in capsys.readouterr().err
