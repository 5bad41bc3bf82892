from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.evaluation.by_class import ByClass
from tdn.evaluation.confusion import confusion_figure
from tdn.evaluation.scores import Scores


def scores_of(labels, predicted, classes):
    """Videos whose predicted class has the largest logit, and then classes by their number."""
    logits = np.tile(-0.1 * np.arange(classes, dtype=np.float32), (len(labels), 1, 1))
    logits[np.arange(len(labels)), 0, predicted] = 5
    return Scores(np.arange(len(labels)), np.array(labels), logits)


@given(st.data(), st.integers(2, 12))
def test_counts_are_those_of_a_plain_loop(data, classes):
    label = st.integers(0, classes - 1)
    pairs = data.draw(st.lists(st.tuples(label, label), min_size=1, max_size=60))
    scores = scores_of([a for a, _ in pairs], [b for _, b in pairs], classes)
    found = ByClass.of(scores)
    for truth in range(classes):
        own = [b for a, b in pairs if a == truth]
        assert found.videos[truth] == len(own)
        assert [found.confusion[truth, other] for other in range(classes)] == [
            own.count(other) for other in range(classes)
        ]
        if own:
            assert found.accuracy[truth] == pytest.approx(100 * own.count(truth) / len(own))
            first_five = [{b, *[c for c in range(classes) if c != b][:4]} for b in own]
            assert found.top5[truth] == sum(truth in five for five in first_five)
        else:
            assert np.isnan(found.accuracy[truth])
    known = [truth for truth in range(classes) if any(a == truth for a, _ in pairs)]
    assert found.mean_accuracy == pytest.approx(np.mean([found.accuracy[k] for k in known]))
    assert sorted(found.hardest(classes)) == known
    assert np.trace(found.confusion) / len(pairs) * 100 == pytest.approx(scores.accuracy()["top1"])


def test_files_for_a_spreadsheet(tmp_path):
    names = ['opening, "slowly"', "closing\n", "none"]
    found = ByClass.of(scores_of([0, 0, 0, 1], [0, 1, 1, 1], 3), names)
    found.save_table(tmp_path / "classes.csv")
    found.save_confusion(tmp_path / "confusion.csv")
    table = list(csv.DictReader(io.StringIO((tmp_path / "classes.csv").read_text())))
    assert [row["class"] for row in table] == names
    assert table[0] | {"class": ""} == {
        "label": "0", "class": "", "videos": "3", "top1": "33.33", "top5": "",
        "taken_for": names[1], "taken_for_videos": "2",
    }  # fmt: skip
    assert (table[2]["top1"], table[1]["taken_for"]) == ("", "")
    matrix = list(csv.reader(io.StringIO((tmp_path / "confusion.csv").read_text())))
    assert matrix[0][1:] == names
    assert matrix[1][1:] == ["1", "2", "0"]


@pytest.mark.parametrize("classes", [3, 30, 400])
def test_the_picture_shows_shares_of_each_class(classes):
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=100)])
    others = rng.integers(classes, size=len(labels))
    predicted = np.where(rng.random(len(labels)) < 0.5, labels, others)
    found = ByClass.of(scores_of(labels, predicted, classes))
    figure = confusion_figure(found)
    (image,) = figure.axes[0].images
    np.testing.assert_allclose(image.get_array().sum(1), 100)
    np.testing.assert_allclose(np.diag(image.get_array()), found.accuracy)
    figure.savefig(io.BytesIO(), format="png")
