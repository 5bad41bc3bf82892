"""Evaluations that are interrupted go on; any number of processes may."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tdn
from tdn.config import Config
from tdn.evaluation import evaluator, partial
from tdn.evaluation.collecting import ScoredViews
from tdn.evaluation.evaluator import evaluate, score
from tdn.evaluation.partial import PartialScores
from tdn.evaluation.scores import Scores
from tdn.pipelines import loader as loaders
from tdn.pipelines.loader import create_loader
from tdn.trained import trained_network
from tdn.training.precision import choose_precision
from tests.tdn.trained_networks import checkpoint, config
from tests.videos import write_list, write_video

__all__ = ["checkpoint", "config"]

CPU = torch.device("cpu")


def views(batches, size=2):
    """Two views of each of some videos: batch b has those numbered 2b and 2b + 1."""
    numbers = np.array([size * b + n for b in batches for n in range(size)])
    logits = numbers[:, None] + np.zeros((1, 3), np.float32)
    return ScoredViews(numbers // size, numbers // 2, numbers // 2 % 3, numbers % 2, logits)


@given(st.data())
def test_batches_of_any_processes_make_the_same_scores(data):
    count = data.draw(st.integers(1, 12))
    size = data.draw(st.integers(1, 5))
    order = data.draw(st.permutations(range(count)))
    again = data.draw(st.lists(st.sampled_from(order)))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=3)))
    parts = [views(part.tolist(), size) for part in np.split(np.array(order), cuts) if len(part)]
    found = ScoredViews.joined([*parts, *(views([batch], size) for batch in again)])
    expected = views(range(count), size)
    scores, whole = (
        Scores.of_views(v.indices, v.labels, v.views, v.logits, 2) for v in (found, expected)
    )
    for name in ("indices", "labels", "logits"):
        assert np.array_equal(getattr(scores, name), getattr(whole, name))
    assert len(whole.indices) == count * size // 2


def test_what_several_processes_left_is_put_together_without_repetitions(tmp_path):
    for rank, batches in enumerate(([0, 4], [3], [0, 5])):
        PartialScores(tmp_path, "key", rank).write(views(batches))
    PartialScores(tmp_path, "other", 0).write(views([9]))
    store = PartialScores(tmp_path, "key", 0)
    store.write(None)
    found = store.read()
    assert sorted(found.batches.tolist()) == [0, 0, 3, 3, 4, 4, 5, 5]
    (damaged,) = (tmp_path / "partial" / "key").glob("1-*.npz")
    damaged.write_bytes(damaged.read_bytes()[:50])
    assert sorted(set(store.read().batches.tolist())) == [0, 4, 5]
    store.remove()
    assert list(tmp_path.iterdir()) == []
    assert store.read() is None


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


@pytest.fixture(scope="module")
def whole(checkpoint, test_config, tmp_path_factory) -> dict:
    """The scores of a test that nothing disturbed, on one process."""
    folder = tmp_path_factory.mktemp("whole")
    evaluate(dataclasses.replace(test_config, output=str(folder)), checkpoint)
    return read(folder)


def read(folder):
    with np.load(folder / "scores.npz") as found:
        return {name: found[name] for name in found.files}


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


class Never:
    asked = False


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_scores_are_the_same_bits_on_any_number_of_processes(
    checkpoint, test_config, tmp_path, whole, world_size
):
    """42 views in batches of 4: neither divides by the processes, and videos lie across batches."""
    model, _ = trained_network(test_config.model, checkpoint)
    model.to(memory_format=torch.channels_last)
    parts = []
    for rank in range(world_size):
        loader = create_loader(test_config, "test", rank, world_size)
        precision = choose_precision("fp32", CPU)
        partial = PartialScores(tmp_path, "key", rank)
        parts.append(score(model, loader, precision, CPU, None, partial, Never()))
    found = ScoredViews.joined(parts)
    assert len(found.batches) == 42
    columns = found.indices, found.labels, found.views, found.logits
    scores = Scores.of_views(*columns, 6)
    assert np.array_equal(scores.logits, whole["scores"])
    assert np.array_equal(scores.indices, whole["indices"])


@pytest.fixture
def served(monkeypatch) -> list[set[int]]:
    """The videos of each batch; at the seventh a signal comes. Scores are kept after each."""
    monkeypatch.setattr(partial, "EVERY", 0.0)
    real, served = loaders._batch, []

    def interrupted(planned, clips):
        served.append({view.clip.row for view in planned})
        if len(served) == 7:
            signal.raise_signal(signal.SIGTERM)
        return real(planned, clips)

    monkeypatch.setattr(loaders, "_batch", interrupted)
    return served


def test_stopped_and_started_again_it_scores_the_rest(
    checkpoint, test_config, tmp_path, served, whole, capsys
):
    settings = dataclasses.replace(test_config, output=str(tmp_path))
    with pytest.raises(SystemExit) as end:
        evaluate(settings, checkpoint)
    assert end.value.code == 75
    assert "the same command goes on" in capsys.readouterr().out
    settings.data = dataclasses.replace(settings.data, num_threads=2)  # changes no score
    evaluate(settings, checkpoint)
    assert len(served) == 11  # 42 views in batches of 4, the seventh is done, too
    assert set().union(*served[7:]) == {4, 5, 6}
    assert not (tmp_path / "partial").exists()
    assert_same(read(tmp_path), whole)


def test_another_number_of_processes_goes_on(
    checkpoint, test_config, tmp_path, served, whole, monkeypatch
):
    """What the second of two processes had scored when they were stopped."""
    real = tdn.create_loader

    def second_of_two(config, split, rank, world_size):
        return real(config, split, rank=1, world_size=2)

    settings = dataclasses.replace(test_config, output=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(tdn, "create_loader", second_of_two)
        patch.setattr(evaluator, "_whole_videos", None)  # it ends before it has anything whole
        with pytest.raises(TypeError):
            evaluate(settings, checkpoint)
    assert len(served) == 5
    served.extend([set()] * 2)  # no signal any more
    evaluate(settings, checkpoint)
    assert len(served) == 7 + 6
    assert_same(read(tmp_path), whole)


def test_scores_of_another_test_are_not_taken(checkpoint, test_config, tmp_path, served):
    settings = dataclasses.replace(test_config, output=str(tmp_path))
    with pytest.raises(SystemExit):
        evaluate(settings, checkpoint)
    evaluate(dataclasses.replace(settings, seed=1), checkpoint)  # draws other clips
    assert set().union(*served[7:]) == set(range(7))


def test_files_that_break_count_once_however_often_it_is_started(
    checkpoint, test_config, tmp_path, served
):
    """Of seven videos one is lost early; what is left after a stop is judged with all of them."""
    folder = tmp_path / "videos"
    listed = Path(test_config.data.validation_list)
    shutil.copytree(listed.parent, folder)
    lines = listed.read_text().replace(str(listed.parent), str(folder))
    (folder / "list.txt").write_text(lines)
    data = dataclasses.replace(
        test_config.data, validation_list=str(folder / "list.txt"), max_bad_share=0.3
    )
    settings = dataclasses.replace(test_config, output=str(tmp_path / "run"), data=data)
    create_loader(settings, "test")  # indexed while all is well
    for name in ("0.webm", "6.webm"):
        (folder / name).unlink()
    with pytest.raises(SystemExit):
        evaluate(settings, checkpoint)
    metrics = evaluate(settings, checkpoint)
    assert (metrics["videos"], metrics["left_out"]) == (5, 2)
