"""What a run does, writes and refuses; that it goes on exactly is in test_going_on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tdn.config_loading import absolute_paths, load_config
from tdn.errors import UserError
from tdn.training import clock
from tests.tdn import synthetic
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.runs import assert_same, events, run, tensors


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


def test_multipliers_are_recorded_and_told(tmp_path, tiny, capsys):
    factors = {"head": {"lr": 3.0, "weight_decay": 0.0}}
    run(tmp_path, optimizer__multipliers=factors, training__epochs=1)
    assert events(tmp_path, "start")[0]["multipliers"] == factors
    assert "head: lr x 3, weight_decay x 0\n" in capsys.readouterr().out


def test_a_multiplier_of_no_part_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(UserError, match=r"'haed'.*'head'"):
        run(tmp_path / "run", optimizer__multipliers={"haed": {"lr": 3.0}})
    assert not (tmp_path / "run" / "log.jsonl").exists()


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
    (event,) = events(tmp_path, "not_finite")
    assert (event["step"], event["reason"], event["rows"]) == (
        5 * epoch + step + 1,
        "loss",
        sorted(rows),
    )
    saved = tensors(tmp_path / "checkpoints" / "last.pt")
    assert all(value.isfinite().all() for value in saved.values())


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
