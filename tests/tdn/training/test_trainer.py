from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tdn.config import TemporalConfig
from tdn.config_loading import absolute_paths, load_config
from tdn.errors import UserError
from tdn.training import clock
from tdn.training.trainer import TrainingResult, train
from tests.tdn import synthetic
from tests.tdn.synthetic import tiny_config


def run(folder: Path, **settings: object) -> TrainingResult:
    return train(tiny_config(str(folder), **settings))


def events(folder: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Everything a checkpoint has learned: weights, running statistics, momentum."""
    checkpoint = torch.load(path, weights_only=True)
    momenta = checkpoint["optimizer"]["state"]
    return checkpoint["model"] | {
        f"{index}.{key}": value for index, state in momenta.items() for key, value in state.items()
    }


def assert_same(first: Path, second: Path) -> None:
    one, other = tensors(first), tensors(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def ask_to_stop(at: tuple[int, int], number: int = signal.SIGUSR2):
    return lambda epoch, step: signal.raise_signal(number) if (epoch, step) == at else None


def fail(at: tuple[int, int]):
    def hook(epoch: int, step: int) -> None:
        if (epoch, step) == at:
            raise ConnectionError("storage went away")

    return hook


def test_a_run_learns_and_leaves_a_full_folder(tmp_path, tiny, capsys):
    result = run(tmp_path, training__epochs=6, logging__tensorboard=True)
    assert result.completed
    assert result.step == 30
    losses = [event["loss"] for event in events(tmp_path, "train")]
    assert losses[-1] < 0.7 * losses[0]
    assert result.top1 > 80
    given = tiny_config(str(tmp_path), training__epochs=6, logging__tensorboard=True)
    assert load_config(tmp_path / "config.yaml") == absolute_paths(given)
    assert result.last.exists()
    assert result.best.exists()
    assert list((tmp_path / "tensorboard").iterdir())
    assert all(loader.closed for loader in tiny.loaders)
    assert "6/6" in capsys.readouterr().out


def test_the_log_tells_what_was_done(tmp_path, tiny):
    result = run(tmp_path)
    (start,), (end,) = events(tmp_path, "start"), events(tmp_path, "end")
    expected = {
        "step": 0, "epochs": 3, "steps_per_epoch": 5, "global_batch": 8, "world_size": 1,
        "device": "CPU", "precision": "fp32", "optimizer": "sgd", "optimizer_backend": "torch",
    }  # fmt: skip
    assert {key: start[key] for key in expected} == expected
    assert start["versions"]["torch"] == torch.__version__
    lines = events(tmp_path, "train")
    assert [(line["epoch"], line["step"]) for line in lines] == [
        (1, 2), (1, 4), (1, 5), (2, 6), (2, 8), (2, 10), (3, 12), (3, 14), (3, 15)
    ]  # fmt: skip
    assert [line["clips"] for line in lines] == [16, 16, 8, 8, 16, 16, 16, 16, 8]
    assert all(line["clips_per_second"] > 0 and 0 <= line["data_wait"] <= 100 for line in lines)
    assert all(line["clips_per_second_each"] == line["clips_per_second"] for line in lines)
    assert all(line["memory"] > 0.05 for line in lines)
    assert lines[0]["lr"] > lines[-1]["lr"]
    validations = events(tmp_path, "validation")
    assert [(line["epoch"], line["step"]) for line in validations] == [(1, 5), (2, 10), (3, 15)]
    assert {line["clips"] for line in validations} == {30}
    assert validations[-1]["top1"] == end["top1"] == result.top1
    assert end["best_top1"] == max(line["top1"] for line in validations)


def test_the_rate_follows_the_batch_where_that_is_asked_for_and_says_so(tmp_path, tiny, capsys):
    plain = run(tmp_path / "plain", optimizer__lr=0.05, optimizer__base_batch=0)
    assert "learning rate" not in capsys.readouterr().out
    scaled = run(tmp_path / "scaled", optimizer__lr=0.1, optimizer__base_batch=16)
    assert capsys.readouterr().out.count("learning rate 0.05") == 1
    assert_same(plain.last, scaled.last)
    (start,) = events(tmp_path / "scaled", "start")
    assert (start["lr"], start["base_batch"]) == (0.05, 16)
    assert events(tmp_path / "scaled", "train")[0]["lr"] == pytest.approx(0.05, rel=0.1)
    assert load_config(tmp_path / "scaled" / "config.yaml").optimizer.lr == 0.1


def test_validation_runs_every_so_often_and_at_the_end(tmp_path, tiny):
    run(tmp_path, training__epochs=5, training__validate_every=2)
    assert [line["epoch"] for line in events(tmp_path, "validation")] == [2, 4, 5]


def test_the_best_checkpoint_is_that_of_the_highest_top1(tmp_path, tiny, monkeypatch):
    """From the third epoch on the labels lie, in training: best stays, last goes on."""
    true = synthetic.make_batch
    epochs = []
    tiny.hooks["train"] = lambda epoch, _: epochs.append(epoch)
    tiny.hooks["validation"] = lambda *_: epochs.append(0)

    def make_batch(rows):
        batch = true(rows)
        return batch._replace(labels=5 - batch.labels) if epochs[-1] >= 2 else batch

    monkeypatch.setattr(synthetic, "make_batch", make_batch)
    run(tmp_path, training__epochs=4, schedule__name="constant")
    top1 = [line["top1"] for line in events(tmp_path, "validation")]
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)
    assert best["epoch"] == top1.index(max(top1)) + 1 < 4
    assert best["best_top1"] == best["top1"] == max(top1)
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert (last["epoch"], last["top1"], last["best_top1"]) == (4, top1[-1], max(top1))
    assert [line["best_top1"] for line in events(tmp_path, "validation")][-2:] == [max(top1)] * 2


@pytest.mark.parametrize("at", [(0, 0), (0, 3), (0, 4), (1, 0), (1, 2), (2, 3)])
def test_stopped_anywhere_and_resumed_is_as_if_never_stopped(tmp_path, tiny, at):
    settings = {"model__dropout": 0.5, "optimizer__name": "adamw", "optimizer__lr": 0.01}
    whole = run(tmp_path / "whole", **settings)
    tiny.hooks["train"] = ask_to_stop(at)
    stopped = run(tmp_path / "parts", **settings)
    assert not stopped.completed
    assert stopped.step == 5 * at[0] + at[1] + 1
    assert json.loads((tmp_path / "parts" / "interrupted.json").read_text())["step"] == stopped.step

    tiny.hooks.clear()
    resumed = run(tmp_path / "parts", **settings)
    assert resumed.completed
    assert not (tmp_path / "parts" / "interrupted.json").exists()
    assert_same(whole.last, resumed.last)
    assert_same(whole.best, resumed.best)
    assert (
        events(tmp_path / "whole", "validation")[-1]["loss"]
        == (events(tmp_path / "parts", "validation")[-1]["loss"])
    )
    steps = [line["step"] for line in events(tmp_path / "parts", "train")]
    assert steps == sorted(set(steps))
    assert sum(line["clips"] for line in events(tmp_path / "parts", "train")) == 15 * 8
    assert [line["step"] for line in events(tmp_path / "parts", "start")] == [0, stopped.step]


@pytest.mark.parametrize(("split", "at"), [("train", (1, 3)), ("validation", (0, 2))])
def test_after_a_crash_the_run_goes_on_exactly(tmp_path, tiny, split, at):
    """In training from the last epoch; a crash while validating repeats only the validation."""
    whole = run(tmp_path / "whole", model__dropout=0.5)
    tiny.hooks[split] = fail(at)
    with pytest.raises(ConnectionError):
        run(tmp_path / "parts", model__dropout=0.5)
    assert all(loader.closed for loader in tiny.loaders)
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts", model__dropout=0.5)
    assert_same(whole.last, resumed.last)
    steps = [line["step"] for line in events(tmp_path / "parts", "train")]
    assert steps == [line["step"] for line in events(tmp_path / "whole", "train")]
    if split == "validation":
        served = [step for epoch, step, _ in tiny.loaders[-2].served if epoch == 0]
        assert served == []


def test_stopped_while_validating_the_validation_is_done_on_resuming(tmp_path, tiny):
    whole = run(tmp_path / "whole")
    tiny.hooks["validation"] = ask_to_stop((0, 1), signal.SIGTERM)
    stopped = run(tmp_path / "parts")
    assert (stopped.completed, stopped.step, stopped.top1) == (False, 5, None)
    assert len(tiny.loaders[-1].served) == 2
    assert not events(tmp_path / "parts", "validation")
    assert (tmp_path / "parts" / "interrupted.json").exists()
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts")
    assert_same(whole.last, resumed.last)
    assert_same(whole.best, resumed.best)
    kinds = ("train", "validation")
    for kind in kinds:
        assert [line["step"] for line in events(tmp_path / "parts", kind)] == [
            line["step"] for line in events(tmp_path / "whole", kind)
        ]


def test_mixing_goes_on_where_it_stopped(tmp_path, tiny):
    settings = {"training__mixup": 0.8, "training__cutmix": 1.0, "training__log_every": 1}
    whole = run(tmp_path / "whole", **settings)
    tiny.hooks["train"] = ask_to_stop((1, 1))
    run(tmp_path / "parts", **settings)
    tiny.hooks.clear()
    assert_same(whole.last, run(tmp_path / "parts", **settings).last)
    losses, resumed, plain = (
        [line["loss"] for line in events(folder, "train")]
        for folder in (
            tmp_path / "whole",
            tmp_path / "parts",
            run(tmp_path / "plain", training__log_every=1).output,
        )
    )
    assert losses == resumed
    assert losses != plain


def test_steps_of_several_batches_count_and_resume_as_steps(tmp_path, tiny):
    settings = {"data__batch_size": 2, "training__accumulate": 4, "model__dropout": 0.5}
    whole = run(tmp_path / "whole", **settings)
    assert whole.step == 15
    served = [rows for _, _, rows in tiny.loaders[0].served]
    start = events(tmp_path / "whole", "start")[0]
    assert (start["steps_per_epoch"], start["global_batch"]) == (5, 8)
    assert {line["clips"] for line in events(tmp_path / "whole", "train")} == {8, 16}

    tiny.hooks["train"] = ask_to_stop((1, 9))  # the second of the third step's four batches
    assert run(tmp_path / "parts", **settings).step == 5 + 3
    tiny.hooks.clear()
    assert_same(whole.last, run(tmp_path / "parts", **settings).last)

    tiny.loaders.clear()
    run(tmp_path / "large", model__dropout=0.5)
    large = [rows for _, _, rows in tiny.loaders[0].served]
    assert np.concatenate(served).reshape(-1, 8).tolist() == large


def test_a_run_may_go_on_with_other_parts_of_the_same_batch(tmp_path, tiny):
    """On fewer processes or in less memory: 8 clips a step, as four batches of 2."""
    settings = {"model__name": "tiny", "model__dropout": 0.0}
    whole = run(tmp_path / "whole", **settings)
    tiny.hooks["train"] = ask_to_stop((1, 2))
    run(tmp_path / "parts", **settings)
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts", **settings, data__batch_size=2, training__accumulate=4)
    one, other = tensors(whole.last), tensors(resumed.last)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_a_run_may_go_on_with_other_multipliers(tmp_path, tiny, name):
    """Each parameter keeps its own momentum, though the groups become others."""
    settings = {"optimizer__name": name, "optimizer__lr": 0.01, "training__epochs": 2}
    factors = {"norm": {"lr": 3.0, "weight_decay": 0.0}}  # which so comes last
    stopped = []
    for folder, before, after in (
        ("one", {}, factors),
        ("same", {part: {} for part in factors}, factors),
    ):
        tiny.hooks["train"] = ask_to_stop((1, 1))
        first = run(tmp_path / folder, **settings, optimizer__multipliers=before)
        stopped.append(tensors(first.last))
        tiny.hooks.clear()
        run(tmp_path / folder, **settings, optimizer__multipliers=after)
    assert len(stopped[0]) > 6
    assert_same(*(tmp_path / folder / "checkpoints" / "last.pt" for folder in ("one", "same")))
    unscaled = run(tmp_path / "unscaled", **settings)
    with pytest.raises(AssertionError):
        assert_same(unscaled.last, tmp_path / "one" / "checkpoints" / "last.pt")


def test_multipliers_are_recorded_and_told(tmp_path, tiny, capsys):
    factors = {"head": {"lr": 3.0, "weight_decay": 0.0}}
    run(tmp_path, optimizer__multipliers=factors, training__epochs=1)
    assert events(tmp_path, "start")[0]["multipliers"] == factors
    assert "head: lr x 3, weight_decay x 0\n" in capsys.readouterr().out


def test_a_multiplier_of_no_part_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(UserError, match=r"'haed'.*'head'"):
        run(tmp_path / "run", optimizer__multipliers={"haed": {"lr": 3.0}})
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize("name", ["sgd", "lamb"])
def test_what_an_optimizer_has_accumulated_is_resumed(tmp_path, tiny, name):
    whole = run(tmp_path / "whole", optimizer__name=name)
    tiny.hooks["train"] = ask_to_stop((1, 1), signal.SIGTERM)
    run(tmp_path / "parts", optimizer__name=name)
    tiny.hooks.clear()
    assert_same(whole.last, run(tmp_path / "parts", optimizer__name=name).last)


def test_the_loss_scale_of_fp16_is_resumed(tmp_path, tiny):
    """The first scale is too large for this network; the run must not go back to it."""
    settings = {"training__precision": "fp16", "training__epochs": 4}
    whole = run(tmp_path / "whole", **settings)
    tiny.hooks["train"] = ask_to_stop((2, 3))
    run(tmp_path / "parts", **settings)
    tiny.hooks.clear()
    parts = run(tmp_path / "parts", **settings)
    assert_same(whole.last, parts.last)
    scalers = [torch.load(r.last, weights_only=True)["scaler"] for r in (whole, parts)]
    assert scalers[0] == scalers[1]
    assert scalers[0]["scale"] < 65536


def test_speed_and_remaining_time_are_those_of_training_alone(tmp_path, tiny, monkeypatch):
    """A second for every batch, a hundred for every one of validation."""
    now = 0.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now))
    tiny.hooks["train"] = lambda *_: pass_time(1.0)
    tiny.hooks["validation"] = lambda *_: pass_time(100.0)
    run(tmp_path)
    lines = events(tmp_path, "train")
    assert [line["clips_per_second"] for line in lines] == [8.0] * len(lines)
    assert [line["data_wait"] for line in lines] == [100.0] * len(lines)
    assert [line["eta"] for line in lines] == [15 - line["step"] for line in lines]


@pytest.fixture
def on_ctrl_c():
    """Sets what Ctrl-C does; put back afterwards. A test run in the background ignores it."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_with_a_checkpoint_and_handlers_are_put_back(tmp_path, tiny, on_ctrl_c):
    on_ctrl_c(signal.default_int_handler)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    tiny.hooks["train"] = ask_to_stop((0, 1), signal.SIGINT)
    assert run(tmp_path).step == 2
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_ctrl_c_stops_at_once(tmp_path, tiny, on_ctrl_c):
    def twice(epoch: int, step: int) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    on_ctrl_c(signal.default_int_handler)
    tiny.hooks["train"] = twice
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_an_ignored_signal_stays_ignored(tmp_path, tiny, on_ctrl_c):
    """Programs that a script runs in the background ignore the Ctrl-C meant for others."""
    on_ctrl_c(signal.SIG_IGN)
    tiny.hooks["train"] = ask_to_stop((0, 1), signal.SIGINT)
    assert run(tmp_path).completed


def test_a_finished_run_has_nothing_to_do(tmp_path, tiny, capsys):
    first = run(tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes()
    tiny.loaders.clear()
    again = run(tmp_path)
    assert again.completed
    assert (again.step, again.top1) == (first.step, first.top1)
    assert (tmp_path / "log.jsonl").read_bytes() == before
    assert not tiny.loaders
    assert "complete" in capsys.readouterr().out


def test_a_finished_run_can_be_made_longer(tmp_path, tiny):
    run(tmp_path, training__epochs=2)
    assert run(tmp_path, training__epochs=3).step == 15
    assert [epoch for epoch, step, _ in tiny.loaders[-2].served] == [2] * 5


def test_resume_none_starts_over(tmp_path, tiny):
    first = run(tmp_path)
    before = tensors(first.last)
    again = run(tmp_path, training__resume="none", seed=1)
    assert len(events(tmp_path, "start")) == 1
    assert any(not torch.equal(value, before[key]) for key, value in tensors(again.last).items())


def test_resume_from_a_path_goes_on_in_another_folder(tmp_path, tiny):
    tiny.hooks["train"] = ask_to_stop((1, 2))
    stopped = run(tmp_path / "one")
    tiny.hooks.clear()
    run(tmp_path / "one")
    copy = tmp_path / "kept.pt"
    tiny.hooks["train"] = ask_to_stop((1, 2))
    run(tmp_path / "two")
    (tmp_path / "two" / "checkpoints" / "last.pt").rename(copy)
    tiny.hooks.clear()
    result = run(tmp_path / "three", training__resume=str(copy))
    assert result.completed
    assert events(tmp_path / "three", "start")[0]["step"] == stopped.step
    assert_same(tmp_path / "one" / "checkpoints" / "last.pt", result.last)
    assert result.best.exists()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"model__num_classes": 7}, "model.num_classes"),
        ({"model__width": 24}, "model.width"),
        ({"model__name": "tiny"}, "model.name"),
        ({"model__temporal": TemporalConfig(directions="next")}, "model.temporal"),
        ({"optimizer__name": "adamw"}, "optimizer.name"),
        ({"data__batch_size": 4}, "data.batch_size"),
        ({"training__accumulate": 2}, "training.accumulate"),
        ({"data__train_list": "60"}, "data.train_list"),
        ({"data__batch_size": 7, "data__train_list": "40"}, "data.batch_size"),
        ({"training__resume": "missing.pt"}, "training.resume"),
    ],
)
def test_what_does_not_go_with_the_checkpoint_is_refused(tmp_path, tiny, settings, key):
    run(tmp_path, training__epochs=2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=key) as error:
        run(tmp_path, **settings)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_pretrained_checkpoint_is_the_start(tmp_path, tiny, capsys):
    first = run(tmp_path / "first")
    second = run(
        tmp_path / "second",
        model__pretrained=str(first.last),
        optimizer__lr=1e-12,
        schedule__min_lr=0,
    )
    weights = [
        torch.load(r.last, weights_only=True)["model"]["head.weight"] for r in (first, second)
    ]
    torch.testing.assert_close(*weights)
    assert str(first.last) in events(tmp_path / "second", "start")[0]["pretrained"]
    assert str(first.last) in capsys.readouterr().out


def test_a_pretrained_checkpoint_of_other_classes_gets_a_new_classifier(tmp_path, tiny):
    first = run(tmp_path / "first")
    run(
        tmp_path / "second",
        model__pretrained=str(first.last),
        model__new_head=True,
        model__num_classes=9,
        optimizer__lr=1e-12,
        schedule__min_lr=0,
    )
    assert "head.weight" in events(tmp_path / "second", "start")[0]["pretrained"]
    weights = [
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)["model"]
        for name in ("first", "second")
    ]
    torch.testing.assert_close(*(state["hidden.weight"] for state in weights))
    assert weights[1]["head.weight"].shape == (9, 16)


def test_an_unusable_pretrained_file_is_refused_before_anything_is_trained(tmp_path, tiny):
    with pytest.raises(UserError, match=r"missing\.pt"):
        run(tmp_path, model__pretrained="missing.pt")
    assert not (tmp_path / "log.jsonl").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_names_step_and_videos(
    tmp_path, tiny, monkeypatch
):
    whole = synthetic.make_batch
    poisoned: list[list[int]] = []

    def make_batch(rows):
        batch = whole(rows)
        if 17 in rows and len(tiny.loaders[0].served) > 5:  # in the second epoch
            poisoned.append(sorted(rows.tolist()))
            return batch._replace(clips=batch.clips.float() * float("nan"))
        return batch

    monkeypatch.setattr(synthetic, "make_batch", make_batch)
    with pytest.raises(UserError) as error:
        run(tmp_path, data__train_list="40", training__log_every=100)
    message = str(error.value)
    epoch, step, rows = next(s for s in tiny.loaders[0].served if sorted(s[2]) == poisoned[0])
    assert f"step {5 * epoch + step + 1}:" in message
    assert ", ".join(map(str, sorted(rows))) in message
    assert "\n" not in message
    saved = tensors(tmp_path / "checkpoints" / "last.pt")
    assert all(value.isfinite().all() for value in saved.values())


def test_a_lost_best_checkpoint_is_made_again(tmp_path, tiny):
    first = run(tmp_path, training__epochs=6)
    assert first.best_top1 == 100
    first.best.unlink()
    assert run(tmp_path, training__epochs=7).best.exists()


def test_the_seed_decides_the_first_weights(tmp_path, tiny):
    settings = {"optimizer__lr": 1e-12, "schedule__min_lr": 0, "training__epochs": 1}
    heads = [
        tensors(run(tmp_path / str(seed), seed=seed, **settings).last)["head.weight"]
        for seed in (1, 2)
    ]
    assert (heads[0] - heads[1]).abs().min() > 1e-6


def test_the_seed_decides_the_run(tmp_path, tiny):
    runs = [
        run(tmp_path / str(i), seed=seed, training__epochs=1) for i, seed in enumerate((3, 3, 4))
    ]
    assert_same(runs[0].last, runs[1].last)
    with pytest.raises(AssertionError):
        assert_same(runs[0].last, runs[2].last)


def test_a_wrong_configuration_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(UserError, match=r"schedule\.warmup_epochs"):
        run(tmp_path / "run", schedule__warmup_epochs=3.0)
    assert not (tmp_path / "run").exists()
