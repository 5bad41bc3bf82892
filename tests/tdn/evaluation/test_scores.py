from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdn.errors import UserError
from tdn.evaluation.scores import Scores, save_metrics


@st.composite
def all_scores(draw):
    count, views, classes = (draw(st.integers(1, n)) for n in (9, 3, 8))
    logits = hnp.arrays(np.float32, (count, views, classes), elements=st.floats(-9, 9, width=32))
    labels = hnp.arrays(np.int64, count, elements=st.integers(0, classes - 1))
    return Scores(np.arange(count), draw(labels), draw(logits))


@given(all_scores())
def test_accuracy_is_that_of_the_mean_softmax_over_views(scores):
    hits = {1: 0, 5: 0}
    for views, label in zip(scores.logits.astype(np.float64), scores.labels, strict=True):
        softmax = np.exp(views) / np.exp(views).sum(1, keepdims=True)
        mean = softmax.mean(0)
        if len(mean) > 1 and np.diff(np.sort(mean)).min() < 1e-12:
            return  # a tie up to rounding: either order is right
        order = np.argsort(-mean)
        for k in hits:
            hits[k] += label in order[:k]
    count = len(scores.labels)
    assert scores.accuracy() == pytest.approx({f"top{k}": 100 * n / count for k, n in hits.items()})


def test_a_sure_network_still_ranks_the_other_classes():
    """In single precision all probabilities but one would be zero, and class order would decide."""
    logits = np.array([[[110.0, -6, -5, -4, -3, -2, -1]]], np.float32)
    assert Scores(np.array([0]), np.array([6]), logits).accuracy() == {"top1": 0, "top5": 100}
    assert Scores(np.array([0]), np.array([1]), logits).accuracy() == {"top1": 0, "top5": 0}


def test_files(tmp_path):
    logits = np.ones((2, 1, 3), np.float32)
    Scores(np.array([4, 7]), np.array([0, 2]), logits).save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz") as archive:
        assert {key: archive[key].shape for key in archive} == {
            "indices": (2,), "labels": (2,), "scores": (2, 1, 3), "videos": ()
        }  # fmt: skip
        assert archive["scores"].dtype == np.float32
    save_metrics(tmp_path / "metrics.json", {"top1": 50.0})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"top1": 50.0}


@given(all_scores())
def test_saved_scores_are_loaded_again(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("scores") / "scores.npz"
    scores.save(path)
    loaded = Scores.load(path)
    for name in ("indices", "labels", "logits"):
        saved, found = getattr(scores, name), getattr(loaded, name)
        assert found.dtype == saved.dtype
        np.testing.assert_array_equal(found, saved)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_refused_or_holds_scores(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("scores") / "scores.npz"
    Scores(np.arange(2), np.array([0, 2]), np.ones((2, 1, 3), np.float32)).save(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    piece = data.draw(st.binary(max_size=20))
    content[place : place + data.draw(st.integers(0, 20))] = piece
    path.write_bytes(content[: data.draw(st.integers(0, len(content) * 2))])
    try:
        loaded = Scores.load(path)
    except UserError as error:
        message = str(error)
    else:
        message = ""
        assert loaded.logits.shape == (2, 1, 3)
    assert message == "" or (str(path) in message and message.count("\n") == 0)


GOOD = {"indices": [0, 1], "labels": [2, 0], "scores": [[[1.0, 2, 3]], [[1, 2, 3]]]}


@pytest.mark.parametrize(
    "odd",
    [
        {"indices": [1, 0]},
        {"indices": [0, 0]},
        {"indices": [-1, 0]},
        {"indices": [0, 1, 2]},
        {"indices": [0.0, 1]},
        {"labels": [0, 3]},
        {"labels": [-1, 0]},
        {"labels": ["a", "b"]},
        {"scores": [[1.0, 2, 3], [1, 2, 3]]},
        {"scores": np.zeros((2, 0, 3))},
        {"scores": np.array([[[object()]]] * 2)},
        {"scores": None},
    ],
)
def test_other_arrays_are_refused(tmp_path, odd):
    path = tmp_path / "scores.npz"
    np.savez(path, **GOOD)
    assert Scores.load(path).labels.tolist() == [2, 0]
    np.savez(path, **{key: value for key, value in (GOOD | odd).items() if value is not None})
    with pytest.raises(UserError, match="holds no scores"):
        Scores.load(path)


@given(all_scores(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_views_scored_one_by_one_in_any_order_are_put_together(scores, random, missing):
    """However the clips were batched; a video that lacks a view is left out."""
    count, views, classes = scores.logits.shape
    pairs = [(video, view) for video in range(count) for view in range(views)]
    random.shuffle(pairs)
    lost, kept = pairs[:missing], pairs[missing:]
    whole = [
        video for video in range(count) if all((video, view) not in lost for view in range(views))
    ]
    rows, numbers = (np.array([pair[axis] for pair in kept], np.int64) for axis in (0, 1))
    logits = scores.logits[rows, numbers].reshape(len(kept), classes)
    found = Scores.of_views(rows * 3 + 1, scores.labels[rows], numbers, logits, views)
    assert found.indices.tolist() == [video * 3 + 1 for video in whole]
    assert found.labels.tolist() == scores.labels[whole].tolist()
    np.testing.assert_array_equal(found.logits, scores.logits[whole])
