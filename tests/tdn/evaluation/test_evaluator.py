from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tdn
from tdn.errors import UserError
from tdn.evaluation import evaluator
from tdn.evaluation.collecting import ScoredViews
from tdn.evaluation.evaluator import evaluate
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.synthetic import tiny_config


@pytest.fixture
def trained(tmp_path, tiny):
    """A finished run and its configuration."""
    config = tiny_config(str(tmp_path / "run"), training__epochs=2, model__dropout=0.5)
    return config, train(config)


def test_scores_are_the_networks_logits_in_evaluation_mode(trained, tmp_path):
    config, result = trained
    config.output = str(tmp_path / "scores")
    metrics = evaluate(config, result.last)
    model = synthetic.TinyNetwork("tiny_bn", 6, 0.5, 16).eval()
    model.load_state_dict(torch.load(result.last, weights_only=True)["model"])
    batch = synthetic.make_batch(np.arange(30))
    logits = model(batch.clips).detach().numpy()
    with np.load(tmp_path / "scores" / "scores.npz") as archive:
        np.testing.assert_array_equal(archive["indices"], np.arange(30))
        np.testing.assert_array_equal(archive["labels"], batch.labels)
        assert archive["scores"].shape == (30, 1, 6)
        np.testing.assert_allclose(archive["scores"][:, 0], logits, rtol=1e-5, atol=1e-6)
    top1 = 100 * (logits.argmax(1) == batch.labels.numpy()).mean()
    assert metrics["top1"] == pytest.approx(top1)
    assert json.loads((tmp_path / "scores" / "metrics.json").read_text()) == metrics


def test_metrics_agree_with_the_runs_own_validation(trained, tiny, capsys):
    config, result = trained
    metrics = evaluate(config, result.last)
    assert (metrics["top1"], metrics["top5"]) == (result.top1, result.top5)
    expected = {"videos": 30, "views": 1, "classes": 6, "checkpoint": str(result.last)}
    assert {key: metrics[key] for key in expected} == expected
    assert f"{metrics['top1']:.2f} %" in capsys.readouterr().out
    assert tiny.loaders[-1].closed


def test_a_checkpoint_that_leaves_something_random_is_refused(trained, monkeypatch, tmp_path):
    config, result = trained
    config.output = str(tmp_path / "scores")
    report = synthetic.LoadReport("resnet.pth", "an ImageNet ResNet", ("head.weight",))
    monkeypatch.setattr(tdn, "load_checkpoint", lambda *_, **__: report)
    with pytest.raises(UserError, match=r"head\.weight"):
        evaluate(config, result.last)
    assert not (tmp_path / "scores").exists()


def test_a_checkpoint_of_other_classes_is_refused(trained, tmp_path):
    config, result = trained
    config.model.num_classes, config.output = 9, str(tmp_path / "scores")
    with pytest.raises(UserError, match="classes"):
        evaluate(config, result.last)
    assert not (tmp_path / "scores").exists()


def test_what_was_left_out_is_counted_and_too_much_is_refused(
    trained, tmp_path, monkeypatch, capsys
):
    """Each process sees only its own videos; the sum of all decides."""
    config, result = trained
    config.output = str(tmp_path / "scores")
    real = evaluator.score

    def losing(count):
        def score(*arguments):
            views = real(*arguments)
            return ScoredViews(*(column[: len(column) - count] for column in views))

        return score

    monkeypatch.setattr(evaluator, "score", losing(2))
    metrics = evaluate(config, result.last)
    assert (metrics["videos"], metrics["listed"], metrics["left_out"]) == (28, 30, 2)
    assert "2 of" in capsys.readouterr().out
    for lost in (4, 30):
        monkeypatch.setattr(evaluator, "score", losing(lost))
        with pytest.raises(UserError, match="max_bad_share"):
            evaluate(config, result.last)
    monkeypatch.setattr(evaluator, "score", lambda *_: None)
    with pytest.raises(UserError, match="max_bad_share"):
        evaluate(config, result.last)
