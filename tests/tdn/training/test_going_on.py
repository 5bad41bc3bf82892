"""Stopped, crashed and finished runs go on: as if nothing had happened, or not at all."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch

from tdn.config import TemporalConfig
from tdn.errors import UserError
from tests.tdn.training.runs import ask_to_stop, assert_same, events, fail, run, tensors


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


def test_a_finished_run_leaves_no_marker(tmp_path, tiny):
    """A script would queue the job again and again."""
    run(tmp_path)
    marker = tmp_path / "interrupted.json"
    marker.write_text("{}")
    assert run(tmp_path).completed
    assert not marker.exists()


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


def test_the_best_of_another_folder_is_not_this_one_s(tmp_path, tiny):
    """The other's network has learned all; the one that goes on has to beat nobody here."""
    other = run(tmp_path / "other", training__epochs=6)
    assert other.best_top1 == 100
    run(tmp_path / "used", training__epochs=1)
    resumed = run(tmp_path / "used", training__epochs=7, training__resume=str(other.last))
    assert resumed.best.exists()
    assert torch.load(resumed.best, weights_only=True)["epoch"] == 7


def test_a_schedule_is_checked_with_the_clips_that_a_step_keeps(tmp_path, tiny):
    """A run of two processes that goes on with one: half the batch would have half the rate."""
    settings = {"optimizer__base_batch": 16, "schedule__min_lr": 0.08, "data__train_list": "64"}
    tiny.hooks["train"] = ask_to_stop((1, 2))
    last = run(tmp_path, data__batch_size=16, **settings).last
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["config"]["data"]["batch_size"] = 8
    torch.save(checkpoint, last)
    tiny.hooks.clear()
    assert run(tmp_path, data__batch_size=8, **settings).completed
    with pytest.raises(UserError, match=r"schedule\.min_lr"):
        run(tmp_path / "new", data__batch_size=8, **settings)


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


def test_a_lost_best_checkpoint_is_made_again(tmp_path, tiny):
    first = run(tmp_path, training__epochs=6)
    assert first.best_top1 == 100
    first.best.unlink()
    assert run(tmp_path, training__epochs=7).best.exists()
