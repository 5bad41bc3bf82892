from __future__ import annotations

import io
import itertools
import sys

import pytest

from tdn.training.reporting.console import Console
from tdn.training.reporting.journal import Journal
from tdn.training.saving.run_folder import RunFolder
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.reporting.events import start_event, train_event


def test_a_line_for_every_epoch_with_its_means(capsys):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False, line_every=0)
    fast, slow = {"clips_per_second": 30.0, "memory": 1.0}, {"clips_per_second": 10.0 / 3}
    console.write(train_event(2, loss=1.0, top1=10.0, clips=30, **fast))
    console.write(train_event(4, loss=2.0, top1=50.0, clips=10, **slow))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    for text in ("1/2", "1.250", "20.0 %", "10.0 clips/s", "data wait 3 %", "1.5 GB", "01:00"):
        assert text in line


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True)])
def test_top5_is_told_where_it_means_something(capsys, classes, shown):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False, line_every=0)
    console.write(start_event(classes=classes))
    values = {"event": "validation", "top5": 99.0, "best_top1": 50.0}
    console.write(train_event(4, **values))
    assert ("top-5 99.0 %" in capsys.readouterr().out) is shown


def test_a_run_that_was_stopped_says_how_it_goes_on(capsys):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False, line_every=0)
    console.write({"event": "end", "seconds": 8.0, "completed": False, "step": 6})
    assert "step 6, 00:08: the same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize(("epochs", "steps", "most"), [(1, 28800, 500), (600, 48, 610)])
def test_a_file_gets_a_line_soon_and_then_now_and_again(capsys, epochs, steps, most):
    """A second a step: eight hours in one epoch, or in epochs shorter than the time to a line."""
    console = Console(epochs, steps, show_bar=False, line_every=60.0)
    console.write(start_event(epochs=epochs, steps_per_epoch=steps))
    capsys.readouterr()
    printed = []
    for step in range(1, epochs * steps + 1):
        epoch = (step - 1) // steps + 1
        console.write(train_event(step, time=float(step), epoch=epoch, loss=float(step)))
        if text := capsys.readouterr().out:
            assert text.count("\n") == 1
            printed.append((step, text))
    at = [step for step, _ in printed]
    assert at[0] < 10
    assert max(b - a for a, b in itertools.pairwise(at)) <= 60
    assert len(printed) <= most
    ends = [step for step in at if step % steps == 0]
    assert len(ends) == epochs


def test_a_line_within_an_epoch_says_where_it_is_and_the_means_since_the_last(capsys):
    console = Console(epochs=12, steps_per_epoch=100, show_bar=False, line_every=60.0)
    console.write(start_event(200, time=0.0))
    times = {210: 1.0, 220: 10.0, 230: 12.0, 240: 30.0}
    for step, time in times.items():
        console.write(train_event(step, time=time, epoch=3, loss=step / 10))
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert "3/12, step 20/100" in first
    assert "loss 21.5" in first
    assert "3/12, step 40/100" in second
    assert "loss 23.5" in second


def test_lines_are_in_the_file_at_once(monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file))
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False, line_every=60.0)
    console.write(start_event(time=0.0))
    for step in (2, 4):
        console.write(train_event(step, time=100.0 * step))
        last = file.getvalue().decode().splitlines()[-1]
        assert ("step 2/4" in last) == (step == 2)


@pytest.mark.parametrize(
    ("processes", "device", "share"),
    [(1, "CPU", None), (2, "CPU", "2.0 per process"), (2, "NVIDIA H100", "2.0 per GPU")],
)
def test_speed_is_that_of_all_and_of_each(capsys, processes, device, share):
    console = Console(epochs=2, steps_per_epoch=4, show_bar=False, line_every=0)
    console.write(start_event(world_size=processes, device=device))
    console.write(train_event(4))
    line = capsys.readouterr().out.splitlines()[-1]
    assert "4.0 clips/s" in line
    assert (share in line) if share else ("per" not in line)


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
    console = Console(epochs=12, steps_per_epoch=5, show_bar=True, line_every=60.0)
    console.write(start_event(7))
    for _ in range(3):
        console.advance()
    console.write(train_event(10, epoch=2, loss=1.5))
    shown = sys.stderr.getvalue()
    shown = shown[shown.rindex("epoch") :]
    for text in ("2/12, step 5/5", "loss 1.500", "4.0 clips/s", "3 %", "1.5 GB", "ETA 01:00"):
        assert text in shown
