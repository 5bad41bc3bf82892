"""One network, trained on demo data, goes through all that is done with a network.

``tdn verify`` goes through it in ``verification/test_verifying.py``.
"""

from __future__ import annotations

import html
import json
import re
from contextlib import closing

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.harness.literal_tdn import LiteralTDN
from tdn.checkpoint import export_upstream
from tdn.cli import main
from tdn.config_loading import load_config
from tdn.pipelines.loader import create_loader
from tdn.trained import load_trained
from tdn.visualization.explanation import Explainer
from tests.tdn.demo_training import VIDEOS, DemoTraining, trained
from tests.tdn.literal_evaluation import Rules, logits_of, mean_softmax

__all__ = ["trained"]

CLASSES = 12


def run(*words: object) -> None:
    assert main(list(map(str, words))) == 0


def literal_logits(trained: DemoTraining, segments: int, crops: int, clips: int) -> np.ndarray:
    """(videos, views, classes), slowly."""
    state = export_upstream(load_trained(trained.checkpoint(segments)).model, head="new_fc")
    network = LiteralTDN((1, 1, 1, 1), False, width=8, t=segments, classes=CLASSES).eval()
    network.load_state_dict({key.removeprefix("module."): state[key] for key in state})
    rules = Rules(segments, clips, crops, short_side=48, crop_size=40, seed=3)
    videos = enumerate(path for path, _ in trained.videos)
    return np.stack([logits_of(path, row, network, rules) for row, path in videos])


def percent(hits: list[bool]) -> float:
    return 100 * sum(hits) / len(hits)


@pytest.mark.parametrize(("segments", "crops", "clips"), [(2, 1, 1), (3, 3, 1), (3, 3, 10)])
def test_protocols_agree_with_a_slow_reimplementation(trained, segments, crops, clips):
    found = trained.scores(segments, crops, clips)
    expected = literal_logits(trained, segments, crops, clips)
    assert found.logits.shape == expected.shape == (VIDEOS, crops * clips, CLASSES)
    # Measured: 3e-7. All that differs is the order of sums in the network.
    assert np.abs(found.logits - expected).max() < 2e-6 * np.abs(expected).max()
    # Crops differ by far more than that, so one in another's place would be seen.
    assert np.abs(np.diff(expected[:, :crops], axis=1)).max(-1).min(initial=1) > 0.05

    probabilities = [mean_softmax(views) for views in expected]
    np.testing.assert_allclose(found.probabilities(), probabilities, atol=1e-6)
    labels = [label for _, label in trained.videos]
    ranked = [np.argsort(-values).tolist() for values in probabilities]
    both = list(zip(labels, ranked, strict=True))
    by_class = [
        percent([label == order[0] for label, order in both if label == wanted])
        for wanted in set(labels)
    ]
    metrics = json.loads((trained.evaluated(segments, crops, clips) / "metrics.json").read_text())
    assert metrics["top1"] == pytest.approx(percent([order[0] == label for label, order in both]))
    assert metrics["top5"] == pytest.approx(percent([label in order[:5] for label, order in both]))
    assert metrics["mean_class_accuracy"] == pytest.approx(np.mean(by_class))
    assert 0 < metrics["top1"] < metrics["top5"] < 100


def test_two_evaluations_are_put_together(trained, tmp_path):
    members = (2, 1, 1), (3, 3, 1)
    run("ensemble", *(trained.evaluated(*member) for member in members), "--output", tmp_path)
    labels = [label for _, label in trained.videos]
    published, softmax = np.zeros((2, VIDEOS, CLASSES))
    for member in members:
        logits = trained.scores(*member).logits
        published += [np.mean([np.maximum(view, 0) for view in views], axis=0) for views in logits]
        softmax += [mean_softmax(views) / 2 for views in logits]
    with np.load(tmp_path / "scores.npz") as archive:
        np.testing.assert_allclose(archive["scores"][:, 0], published, rtol=1e-6)
    rules = json.loads((tmp_path / "metrics.json").read_text())["rules"]
    for name, values in (("published", published), ("softmax", softmax)):
        hits = [np.argmax(row) == label for row, label in zip(values, labels, strict=True)]
        assert rules[name]["top1"] == pytest.approx(percent(hits))


def test_predictions_are_what_the_evaluation_found(trained, capsys):
    videos = [path for path, _ in trained.videos]
    words = ["--checkpoint", trained.checkpoint(3), "--config", trained.recipe(3)]
    words += ["--clips", 10, "--crops", 3, "--top", CLASSES, "--json", "--device", "cpu"]
    run("predict", *videos, *words)
    printed = json.loads(capsys.readouterr().out)
    names = (trained.root / "labels.txt").read_text().splitlines()
    for video, path, expected in zip(
        printed, videos, trained.scores(3, 3, 10).probabilities(), strict=True
    ):
        assert video["video"] == str(path)
        guesses = video["predictions"]
        assert [guess["label"] for guess in guesses] == np.argsort(-expected).tolist()
        for guess in guesses:
            assert guess["name"] == names[guess["label"]]
            assert guess["probability"] == pytest.approx(expected[guess["label"]], abs=1e-6)


def test_the_activation_map_is_of_the_predicted_class(trained, tmp_path):
    video, checkpoint = str(trained.videos[1][0]), trained.checkpoint(2)
    output = tmp_path / "cam.png"
    run("visualize", "cam", video, "--checkpoint", checkpoint, "--output", output)
    with Image.open(output) as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1000
    probabilities = trained.scores(2).probabilities()[1]
    names = (trained.root / "labels.txt").read_text().splitlines()
    title = Explainer(checkpoint, device="cpu")(video).maps[1].title
    assert f"{names[probabilities.argmax()]}, {100 * probabilities.max():.1f} %" in title


def test_the_report_has_the_training_and_its_evaluation(trained, tmp_path, capsys):
    metrics = json.loads((trained.evaluated(2) / "metrics.json").read_text())
    output = tmp_path / "report.html"
    run("report", trained.run, "--output", output, "--examples", 2, "--device", "cpu")
    assert capsys.readouterr().err == ""
    page = output.read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    # Of so few videos decimals would tell nothing.
    assert f"top-1 {metrics['top1']:.0f} % {VIDEOS} videos, 1 view each" in text
    assert "complete, 30 epochs" in text
    assert page.count("<img") == 1 + 2  # the confusion matrix and the examples
    for name in (trained.root / "labels.txt").read_text().splitlines():
        assert name in text


def test_an_exported_network_gives_the_evaluations_scores(trained, tmp_path, capsys):
    path = tmp_path / "network.pt2"
    run("export", "--checkpoint", trained.checkpoint(2), "--output", path)
    network = torch.export.load(path).module()
    expected = trained.scores(2).logits[:, 0]
    with closing(create_loader(load_config(trained.recipe(2)), "validation")) as loader:
        for batch in loader:
            logits = network(batch.clips).detach().numpy()
            difference = np.abs(logits - expected[batch.indices.numpy()]).max()
            assert difference < 2e-6 * np.abs(expected).max()
