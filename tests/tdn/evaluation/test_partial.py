"""Evaluations that are interrupted go on; any number of processes may."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tdn.config import Config
from tdn.evaluation import partial
from tdn.evaluation.collecting import Collector
from tdn.evaluation.evaluator import evaluate
from tdn.evaluation.partial import PartialScores
from tdn.evaluation.scores import Scores
from tdn.pipelines import loader as loaders
from tests.tdn.trained_networks import checkpoint, config
from tests.videos import write_list, write_video

__all__ = ["checkpoint", "config"]


def scores(rows):
    rows = np.array(rows)
    return Scores(rows, rows % 3, rows[:, None, None] + np.zeros((1, 2, 3), np.float32))


def test_what_several_processes_left_is_put_together_without_repetitions(tmp_path):
    for rank, rows in enumerate(([4, 0], [3], [0, 5])):
        PartialScores(tmp_path, "key", rank).write(scores(sorted(rows)))
    PartialScores(tmp_path, "other", 0).write(scores([9]))
    store = PartialScores(tmp_path, "key", 0)
    store.write(None)
    found = store.read()
    assert found.indices.tolist() == [0, 3, 4, 5]
    assert found.logits[:, 0, 0].tolist() == [0, 3, 4, 5]
    (damaged,) = (tmp_path / "partial" / "key").glob("1-*.npz")
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert store.read().indices.tolist() == [0, 4, 5]
    store.remove()
    assert list(tmp_path.iterdir()) == []
    assert store.read() is None


class Batch:
    def __init__(self, rows, views):
        self.indices = torch.tensor(rows)
        self.labels = self.indices % 3
        self.views = torch.tensor(views)


def test_a_video_whose_views_are_not_all_there_is_taken_later():
    collector = Collector(3)
    assert collector.take() is None
    collector.add(Batch([0, 0, 0, 1], [0, 1, 2, 0]), torch.arange(8.0).view(4, 2))
    assert collector.take().indices.tolist() == [0]
    assert collector.take().indices.tolist() == []
    collector.add(Batch([1, 1], [2, 1]), torch.arange(4.0).view(2, 2))
    found = collector.take()
    assert found.indices.tolist() == [1]
    assert found.logits[0].tolist() == [[6, 7], [2, 3], [0, 1]]
    assert collector.take() is None


@pytest.fixture(scope="module")
def test_config(config, tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp("videos")
    rows = [(write_video(folder / f"{n}", 8 + n, size=(48, 64)), n % 3) for n in range(7)]
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, validation_list=str(write_list(folder / "list.txt", rows))
        ),
        evaluation=dataclasses.replace(config.evaluation, clips=2, crops=3, batch_size=4),
        training=dataclasses.replace(config.training, device="cpu"),
    )


def read(folder):
    with np.load(folder / "scores.npz") as found:
        return {name: found[name] for name in found.files}


@pytest.fixture
def served(monkeypatch) -> list[set[int]]:
    """The videos of each batch; the seventh is interrupted. Scores are kept after each."""
    monkeypatch.setattr(partial, "EVERY", 0.0)
    real, served = loaders._batch, []

    def interrupted(views, clips):
        served.append({view.clip.row for view in views})
        if len(served) == 7:
            raise KeyboardInterrupt
        return real(views, clips)

    monkeypatch.setattr(loaders, "_batch", interrupted)
    return served


def test_videos_that_were_scored_are_not_scored_again(checkpoint, test_config, tmp_path, served):
    settings = dataclasses.replace(test_config, output=str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, checkpoint)
    assert (tmp_path / "run" / "partial").is_dir()
    evaluate(settings, checkpoint)
    assert set().union(*served[7:]) == {4, 5, 6}  # six batches of four were four videos
    assert not (tmp_path / "run" / "partial").exists()
    evaluate(dataclasses.replace(test_config, output=str(tmp_path / "whole")), checkpoint)
    one, other = read(tmp_path / "whole"), read(tmp_path / "run")
    assert np.array_equal(one["indices"], other["indices"])
    assert np.array_equal(one["labels"], other["labels"])
    np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5, atol=1e-6)


def test_scores_of_another_test_are_not_taken(checkpoint, test_config, tmp_path, served):
    settings = dataclasses.replace(test_config, output=str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, checkpoint)
    evaluate(dataclasses.replace(settings, seed=1), checkpoint)  # draws other clips
    assert set().union(*served[7:]) == set(range(7))
