"""The note of a host's loss."""

from __future__ import annotations

import pytest

from tdn.training.watching.loss_note import clear_loss, note_loss
from tests.tdn.training.runs import run


def test_a_run_that_goes_on_removes_the_note_of_its_former_start(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("TDN_LOST", str(note := tmp_path / "lost"))
    note_loss()
    tiny.hooks["train"] = lambda *_: note.exists() and pytest.fail("it is still there")
    run(tmp_path / "run", training__epochs=1)
    assert not note.exists()
    clear_loss()


@pytest.mark.parametrize("name", [None, "", "/nowhere/lost"])
def test_where_there_is_no_place_for_it_nothing_happens(monkeypatch, name):
    monkeypatch.delenv("TDN_LOST", raising=False)
    if name is not None:
        monkeypatch.setenv("TDN_LOST", name)
    note_loss()
    clear_loss()
