"""With a stand-in for the package, which keeps what it is told."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tdn.errors import UserError
from tdn.training.reporting.journal import Journal
from tdn.training.reporting.wandb import check_wandb
from tdn.training.saving.run_folder import RunFolder
from tdn.training.trainer import train
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.reporting.events import train_event
from tests.tdn.training.runs import ask_to_stop, assert_same, events


class Run:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.logged: list[dict[str, Any]] = []
        self.axes: dict[str, str] = {}
        self.config: Any = SimpleNamespace(update=self._update)
        self.notes: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def _update(self, notes: dict[str, Any], allow_val_change: bool) -> None:
        assert allow_val_change
        self.notes |= notes

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axes[name] = step_metric

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(values)

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


class Package:
    """As much of ``wandb`` as is used."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        self.mode = "online"
        self.logged_in: bool | Exception = True
        self.refusal: Exception | None = None
        self.runs: list[Run] = []

    def setup(self) -> Any:
        return SimpleNamespace(settings=SimpleNamespace(mode=self.mode))

    def login(self, prompt: bool) -> bool:
        assert not prompt
        if isinstance(self.logged_in, Exception):
            raise self.logged_in
        return self.logged_in

    def Settings(self, **settings: object) -> dict[str, object]:  # noqa: N802 - the package's name
        return settings

    def init(self, **settings: Any) -> Run:
        if self.refusal is not None:
            raise self.refusal
        self.runs.append(Run(settings))
        return self.runs[-1]


@pytest.fixture
def wandb(monkeypatch) -> Package:
    package = Package()
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_a_run_shows_what_the_record_has(tmp_path, tiny, wandb):
    result = train(tiny_config(str(tmp_path / "mine"), logging__wandb="team/clips"))
    (run,) = wandb.runs
    assert (run.settings["entity"], run.settings["project"]) == ("team", "clips")
    assert (run.settings["name"], run.settings["dir"]) == ("mine", str(tmp_path / "mine"))
    assert run.settings["config"]["optimizer"]["lr"] == 0.1
    assert run.notes["run"]["world_size"] == 1
    assert run.axes == {"train/*": "step", "validation/*": "step"}
    for kind in ("train", "validation"):
        recorded = [
            (event["step"], event["epoch"], event["loss"], event["top1"])
            for event in events(tmp_path / "mine", kind)
        ]
        shown = [
            (line["step"], line["epoch"], line[f"{kind}/loss"], line[f"{kind}/top1"])
            for line in run.logged
            if f"{kind}/loss" in line
        ]
        assert shown == recorded
    assert all("train/time" not in line and "train/event" not in line for line in run.logged)
    assert {"train/data_wait", "train/clips_per_second_each", "train/memory"} <= set(run.logged[0])
    assert run.summary["best_top1"] == result.best_top1
    assert run.exit_code == 0


def test_a_resumed_run_is_the_same_one_there_and_a_new_one_is_not(tmp_path, tiny, wandb):
    config = tiny_config(str(tmp_path), logging__wandb="clips")
    tiny.hooks["train"] = ask_to_stop((1, 2))
    train(config)
    tiny.hooks.clear()
    train(config)
    config.training.resume = "none"
    train(config)
    names = [run.settings["id"] for run in wandb.runs]
    assert names[0] == names[1] != names[2]
    assert {run.settings["resume"] for run in wandb.runs} == {"allow"}
    assert wandb.runs[0].settings["entity"] is None
    assert [run.exit_code for run in wandb.runs] == [0, 0, 0]
    assert wandb.runs[0].summary["completed"] is False
    steps = [line["step"] for run in wandb.runs[:2] for line in run.logged if "train/loss" in line]
    assert steps == sorted(set(steps))


def test_without_a_project_the_package_is_not_touched(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    assert train(tiny_config(str(tmp_path))).completed


def refusal(tmp_path, tiny) -> str:
    with pytest.raises(UserError, match="wandb") as error:
        train(tiny_config(str(tmp_path / "run"), logging__wandb="clips"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "log.jsonl").exists()
    return str(error.value)


def test_a_missing_package_is_one_line(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert "pip install -e '.[wandb]'" in refusal(tmp_path, tiny)
    assert not tiny.loaders  # said before the lists were read


@pytest.mark.parametrize("logged_in", [False, Package.Error("no such key\nsee the log")])
def test_a_missing_login_is_one_line(tmp_path, tiny, wandb, logged_in):
    wandb.logged_in = logged_in
    assert "WANDB_MODE=offline" in refusal(tmp_path, tiny)
    assert not tiny.loaders


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_offline_needs_no_login(wandb, mode):
    wandb.mode, wandb.logged_in = mode, False
    check_wandb("clips")


def test_a_server_that_refuses_the_run_is_one_line(tmp_path, tiny, wandb):
    wandb.refusal = Package.Error("deadline exceeded\nwhile retrying")
    assert "deadline exceeded" in refusal(tmp_path, tiny)


def test_a_server_that_goes_away_does_not_take_the_run_with_it(
    tmp_path, tiny, wandb, monkeypatch, caplog
):
    def break_down(*_: object, **__: object) -> None:
        raise ConnectionError("service process has ended\nsomewhere")

    monkeypatch.setattr(Run, "log", break_down)
    monkeypatch.setattr(Run, "finish", break_down)
    shown = train(tiny_config(str(tmp_path / "shown"), logging__wandb="clips"))
    assert len(events(tmp_path / "shown", "train")) == 9
    told = [record.getMessage() for record in caplog.records if "wandb" in record.getMessage()]
    assert len(told) == 2  # at the first event, and at the end
    assert all("service process has ended" in line and "\n" not in line for line in told)
    assert_same(shown.last, train(tiny_config(str(tmp_path / "plain"))).last)


def test_what_is_no_curve_is_not_drawn(tmp_path, wandb, caplog):
    config = tiny_config(str(tmp_path), logging__wandb="clips")
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=True) as journal:
        journal.record("skipped", step=3, reason="loss", rows=[1])
        journal.record("not_finite", step=4, reason="loss", rows=[1])
        journal.record(**train_event(5))
    assert [line["step"] for line in wandb.runs[0].logged] == [5]
    assert not caplog.messages


def test_a_run_that_fails_has_failed_there(tmp_path, tiny, wandb):
    def fail(epoch: int, step: int) -> None:
        if (epoch, step) == (1, 2):
            raise ConnectionError("storage went away")

    tiny.hooks["train"] = fail
    with pytest.raises(ConnectionError):
        train(tiny_config(str(tmp_path), logging__wandb="clips"))
    assert wandb.runs[0].exit_code == 1


def test_other_processes_show_nothing(tmp_path, wandb):
    config = tiny_config(str(tmp_path), logging__wandb="clips")
    with Journal(RunFolder(tmp_path), config, 5, 0, is_main=False) as journal:
        journal.record(**train_event(5))
    assert not wandb.runs
