from __future__ import annotations

import io
import sys

import pytest

from tdn.training.reporting.console import Console
from tdn.training.reporting.journal import Journal
from tdn.training.run_folder import RunFolder
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.reporting.events import train_event


def test_a_line_for_every_epoch_with_its_means(capsys):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False)
    console.write(train_event(2, loss=1.0, top1=10.0, clips=30, clips_per_second=30.0))
    console.write(train_event(4, loss=2.0, top1=50.0, clips=10, clips_per_second=10.0 / 3))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for text in ("1/2", "1.250", "20.0 %", "10.0 clips/s", "01:00"):
        assert text in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "progress", "bar"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_bar_on_terminals_only_and_only_if_wanted(
    tmp_path, monkeypatch, capsys, terminal, progress, bar
):
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    config = tiny_config(str(tmp_path), logging__progress=progress)
    with Journal(RunFolder(tmp_path), config, 5, 7, is_main=True) as journal:
        for _ in range(3):
            journal.advance()
    shown = sys.stderr.getvalue()
    assert bool(shown) == bar


def test_the_bar_shows_where_the_run_is(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console(epochs=12, steps_per_epoch=5, show_bar=True)
    console._step = 7
    for _ in range(3):
        console.advance()
    console.write(train_event(10, epoch=2, loss=1.5))
    shown = sys.stderr.getvalue()
    for text in ("2/12", "loss 1.500", "4.0 clips/s", "data wait 3 %", "ETA 01:00"):
        assert text in shown
