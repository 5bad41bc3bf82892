from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tdn.errors import UserError
from tdn.evaluation.ensemble import mean_softmax, positive_sum, write_ensemble
from tdn.evaluation.scores import Scores

# Two videos, two views, three classes of the one network; one view of the other.
EIGHT = np.array([[[1, -5, 0.5], [3, 1, -1]], [[-1, -2, -3], [4, 2, 3]]], np.float32)
SIXTEEN = np.array([[[-4, 6, 0]], [[0, 3, 2.5]]], np.float32)


def scores(logits, labels=(1, 2), indices=(0, 1)):
    return Scores(np.array(indices), np.array(labels), np.asarray(logits, np.float32))


def save(folder, name, *arguments, **settings):
    path = folder / name / "scores.npz"
    scores(*arguments, **settings).save(path)
    return path


def test_the_published_rule_by_hand():
    """Positive parts only: -5 and -4 count nothing; and no softmax, so 6 outweighs the rest."""
    found = positive_sum([scores(EIGHT), scores(SIXTEEN)])
    expected = [[(1 + 3) / 2 + 0, (0 + 1) / 2 + 6, 0.5 / 2 + 0], [2 + 0, 1 + 3, 1.5 + 2.5]]
    np.testing.assert_array_equal(found, expected)


def test_mean_softmax_by_hand():
    def softmax(*logits):
        powers = np.exp(logits)
        return powers / powers.sum()

    eight = (softmax(1, -5, 0.5) + softmax(3, 1, -1)) / 2
    expected = (eight + softmax(-4, 6, 0)) / 2
    found = mean_softmax([scores(EIGHT), scores(SIXTEEN)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1)


@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_with_equal_views_it_is_the_released_codes_running_sum(count, views, data):
    """As its script adds scores up, file by file; the division by the views changes no rank."""
    elements = st.floats(-30, 30, width=32)
    shape = (count, views, 4)
    members = [data.draw(hnp.arrays(np.float32, shape, elements=elements)) for _ in range(2)]
    total = np.zeros((count, 4))
    for member in members:
        for view in range(views):
            total = np.maximum(total, 0) + np.maximum(member[:, view], 0)
    labels, indices = np.zeros(count, np.int64), np.arange(count)
    found = positive_sum([Scores(indices, labels, member) for member in members])
    np.testing.assert_allclose(found, total / views, rtol=1e-12)


def test_files_of_both_rules(tmp_path):
    """Video 0 is right by both; video 1 is a tie of classes 1 and 2 by the published rule."""
    paths = [save(tmp_path, "8", EIGHT), save(tmp_path, "16", SIXTEEN)]
    metrics = write_ensemble([paths[0].parent, paths[1]], tmp_path / "both")
    assert json.loads((tmp_path / "both" / "metrics.json").read_text()) == metrics
    assert metrics["rules"]["published"]["top1"] == metrics["top1"] == 50
    assert [member["top1"] for member in metrics["members"]] == [0, 50]
    assert [member["views"] for member in metrics["members"]] == [2, 1]
    assert (metrics["videos"], metrics["classes"]) == (2, 3)
    kept = Scores.load(tmp_path / "both" / "scores.npz")
    np.testing.assert_allclose(kept.logits[:, 0], positive_sum([scores(EIGHT), scores(SIXTEEN)]))

    softmax = write_ensemble(paths, tmp_path / "soft", "softmax")
    assert softmax["rules"] == metrics["rules"]
    assert softmax["top1"] == metrics["rules"]["softmax"]["top1"]
    kept = Scores.load(tmp_path / "soft" / "scores.npz")
    expected = mean_softmax([scores(EIGHT), scores(SIXTEEN)])
    np.testing.assert_allclose(kept.probabilities(), expected, rtol=1e-5)


DIFFERENT = {
    "missing": ({"indices": (1, 3)}, ["lacks row 0", "8/scores.npz has"]),
    "more": ({"indices": (0, 5)}, ["row 1"]),
    "labels": ({"labels": (1, 0)}, ["row 1", "label 0", "2"]),
    "classes": ({"logits": np.zeros((2, 1, 4))}, ["4 classes", "3"]),
    "excess": (
        {"logits": np.zeros((3, 1, 3)), "labels": (1, 2, 0), "indices": (0, 1, 6)},
        ["has row 6", "8/scores.npz lacks"],
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_other_videos_are_refused_with_the_difference(what, tmp_path):
    settings, words = DIFFERENT[what]
    paths = [save(tmp_path, "8", EIGHT), save(tmp_path, "16", **{"logits": SIXTEEN} | settings)]
    with pytest.raises(UserError) as error:
        write_ensemble(paths, tmp_path / "both")
    assert str(error.value).startswith(str(paths[1]))
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "both").exists()


def test_the_same_rows_of_another_list_are_refused(tmp_path):
    paths = []
    for name, videos in (("8", "one"), ("16", "other"), ("32", "")):
        paths.append(tmp_path / f"{name}.npz")
        dataclasses.replace(scores(EIGHT), videos=videos).save(paths[-1])
    with pytest.raises(UserError, match=r"16\.npz.*list"):
        write_ensemble(paths[:2], tmp_path / "both")
    write_ensemble(paths[::2], tmp_path / "both")  # of an older version, which does not say


def test_one_alone_is_refused(tmp_path):
    path = save(tmp_path, "8", EIGHT)
    for given_twice in ([path], [path, path], [path, path.parent]):
        with pytest.raises(UserError, match="two"):
            write_ensemble(given_twice, tmp_path / "both")
