"""Labels mean the same in both lists, in the checkpoint a run goes on from, and where it is tested.

The lists' own class names are sorted, so a class that one of them lacks moves all the later ones.
"""

from __future__ import annotations

import pytest
import torch

from tdn.errors import UserError
from tdn.evaluation.evaluator import evaluate
from tdn.training.class_names import check_same_classes
from tdn.training.trainer import train
from tests.tdn.synthetic import tiny_config

NAMES = ("brush", "climb", "dive", "run", "swim", "walk")
OTHERS = ("brush", "climb", "jump", "run", "swim", "walk")


def test_names_that_agree_or_are_missing_pass():
    for names, others in ((NAMES, NAMES), (NAMES, ()), ((), NAMES), ((), ()), (NAMES, list(NAMES))):
        check_same_classes("data.validation_list", names, "data.train_list", others)


@pytest.mark.parametrize(
    ("others", "told"),
    [(OTHERS, "label 2 is 'dive', but 'jump'"), (NAMES[:-1], "6 classes"), (NAMES[1:], "label 0")],
)
def test_the_first_difference_is_told_in_one_line(others, told):
    with pytest.raises(UserError) as error:
        check_same_classes("data.validation_list", NAMES, "data.train_list", others)
    assert told in str(error.value)
    assert "data.classes" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def config(tmp_path):
    return tiny_config(str(tmp_path / "run"), training__epochs=1)


def test_lists_that_differ_are_refused_before_anything_is_written(config, tiny, tmp_path):
    tiny.classes = {"train": NAMES, "validation": OTHERS}
    with pytest.raises(UserError, match=r"data\.validation_list.*'jump'.*data\.train_list"):
        train(config)
    assert not list(tmp_path.iterdir())
    assert all(loader.closed for loader in tiny.loaders)


def test_a_checkpoint_knows_the_names(config, tiny, tmp_path):
    tiny.classes = {"train": NAMES, "validation": ()}
    result = train(config)
    assert torch.load(result.last, weights_only=True)["classes"] == list(NAMES)
    config.output = str(tmp_path / "scores")
    for names in (NAMES, ()):
        tiny.classes = {"validation": names}
        evaluate(config, result.last)
    tiny.classes = {"validation": OTHERS}
    with pytest.raises(UserError, match=r"data\.validation_list.*'jump'.*last\.pt"):
        evaluate(config, result.last)


def test_a_run_goes_on_with_the_same_names_only(config, tiny):
    tiny.classes = {"train": NAMES, "validation": NAMES}
    train(config)
    config.training.epochs = 2
    tiny.classes = {"train": OTHERS, "validation": OTHERS}
    with pytest.raises(UserError, match=r"data\.train_list.*last\.pt"):
        train(config)
    tiny.classes = {"train": NAMES, "validation": NAMES}
    assert train(config).completed
