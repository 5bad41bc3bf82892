from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tdn.evaluation.evaluator import evaluate
from tdn.training.extras.ema import WeightAverage
from tdn.training.trainer import TrainingResult, train
from tests.tdn.synthetic import TinyNetwork, make_batch, tiny_config
from tests.tdn.training.test_step import make_step


def run(folder: Path, **settings: object) -> TrainingResult:
    settings = {"training__ema": 0.9, "model__dropout": 0.5} | settings
    return train(tiny_config(str(folder), **settings))


def checkpoint(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_and_statistics_are_averaged_and_counts_are_the_networks():
    model = TinyNetwork("tiny_bn", 6, 0.0, 16)
    average = WeightAverage(model, 0.9)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    for step, decay in enumerate([0.1, 2 / 11, 0.25, *[None] * 76, 80 / 89, 0.9, 0.9]):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1) if tensor.dtype == torch.int64 else tensor.normal_()
        average.update(step)
        found = average.module.state_dict()
        for name, value in model.state_dict().items():
            if name == "norm.num_batches_tracked":
                assert found[name] == value
                continue
            decay = (1 + step) / (10 + step) if decay is None else decay
            state[name] = decay * state[name] + (1 - decay) * value.double().numpy()
            np.testing.assert_allclose(found[name], state[name], rtol=1e-5, atol=1e-6)


def test_the_average_is_apart_from_the_network():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.5)
    assert not average.module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    theirs = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert all(tensor.data_ptr() not in theirs for tensor in average.module.state_dict().values())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_takes_in_the_network_after_each_update(accumulate):
    torch.manual_seed(0)
    model = TinyNetwork("tiny_bn", 6, 0.0, 16)
    average, replayed = WeightAverage(model, 0.5), WeightAverage(model, 0.5)
    step = make_step(model, average=average, training__accumulate=accumulate)
    for number in range(20, 23):
        step([make_batch(np.arange(8))] * accumulate, number)
        replayed.update(number)
    assert_same(average.module.state_dict(), replayed.module.state_dict())
    assert not torch.equal(average.module.head.weight, model.head.weight)


def test_a_network_without_batch_norm_is_averaged():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.9)
    before = model.weight.detach().clone()
    nn.init.zeros_(model.weight)
    average.update(1000)
    torch.testing.assert_close(average.module.weight, 0.9 * before)


def test_training_does_not_notice_and_checkpoints_have_both(tmp_path, tiny):
    plain, averaged = run(tmp_path / "plain", training__ema=0.0), run(tmp_path / "averaged")
    with_average = checkpoint(averaged.last)
    assert_same(checkpoint(plain.last)["model"], with_average["model"])
    assert "ema" not in checkpoint(plain.last)
    difference = (with_average["ema"]["head.weight"] - with_average["model"]["head.weight"]).abs()
    assert difference.max() > 1e-3
    assert "ema" in checkpoint(averaged.best)


def test_the_average_is_what_is_validated(tmp_path, tiny):
    result = run(tmp_path)
    model = TinyNetwork("tiny_bn", 6, 0.5, 16).eval()
    model.load_state_dict(checkpoint(result.last)["ema"])
    batch = make_batch(np.arange(30))
    logits = model(batch.clips)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    validation = [line for line in lines if line["event"] == "validation"][-1]
    loss = F.cross_entropy(logits, batch.labels).item()
    assert validation["loss"] == pytest.approx(loss, rel=1e-5)
    model.load_state_dict(checkpoint(result.last)["model"])
    assert F.cross_entropy(model(batch.clips), batch.labels).item() != pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("at", [(0, 2), (1, 4)])
def test_stopped_and_resumed_the_average_is_as_if_never_stopped(tmp_path, tiny, at):
    whole = run(tmp_path / "whole")
    tiny.hooks["train"] = lambda *now: signal.raise_signal(signal.SIGUSR2) if now == at else None
    assert not run(tmp_path / "parts").completed
    tiny.hooks.clear()
    resumed = run(tmp_path / "parts")
    for path, other in ((whole.last, resumed.last), (whole.best, resumed.best)):
        assert_same(checkpoint(path)["ema"], checkpoint(other)["ema"])


def test_an_average_may_begin_and_end_in_a_resumed_run(tmp_path, tiny):
    run(tmp_path, training__ema=0.0, training__epochs=1)
    begun = run(tmp_path, training__epochs=2)
    assert "ema" in checkpoint(begun.last)
    ended = run(tmp_path, training__ema=0.0)
    assert "ema" not in checkpoint(ended.last)


def test_evaluation_takes_the_average_unless_told_otherwise(tmp_path, tiny):
    result = run(tmp_path / "run", training__epochs=2)
    saved = checkpoint(result.last)
    for raw, key in ((False, "ema"), (True, "model")):
        config = tiny_config(str(tmp_path / key))
        metrics = evaluate(config, result.last, raw=raw)
        assert metrics["averaged_weights"] is not raw
        model = TinyNetwork("tiny_bn", 6, 0.5, 16).eval()
        model.load_state_dict(saved[key])
        with np.load(tmp_path / key / "scores.npz") as archive:
            scores = torch.from_numpy(archive["scores"][:, 0])
        torch.testing.assert_close(scores, model(make_batch(np.arange(30)).clips).detach())
