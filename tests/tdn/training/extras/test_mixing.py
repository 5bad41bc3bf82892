from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tdn.config import TrainingConfig
from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.pipelines.sampling.photometric import Box
from tdn.training.extras.mixing import Mix, draw_mix

SHAPE = (5, 2, 5, 20, 30, 3)


def draw(step: int = 0, seed: int = 0, rank: int = 0, shape=SHAPE, **alphas: float) -> Mix | None:
    return draw_mix(TrainingConfig(**alphas), seed, step, rank, shape)


def clips() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8))


def test_nothing_is_mixed_unless_configured():
    assert draw() is None


@given(st.integers(0, 10**6), st.sampled_from([{"mixup": 0.4}, {"cutmix": 1.0}]))
def test_mixed_clips_are_the_papers_formulas(step, alphas):
    """In NumPy's floating point, rounded; the box is the same in all frames."""
    mix, x = draw(step, **alphas), clips()
    before = x.clone()
    mixed = mix.clips(x)
    a = x.numpy().astype(float)
    b = np.roll(a, -mix.shift, axis=0)
    if "mixup" in alphas:
        expected = np.floor(mix.share * a + (1 - mix.share) * b + 0.5)
    else:
        own = np.ones(SHAPE[3:5], bool)
        y, x0, height, width = mix.box
        own[y : y + height, x0 : x0 + width] = False
        assert np.isclose(own.mean(), mix.share)
        expected = np.where(own[..., None], a, b)
    assert mixed.dtype == torch.uint8
    assert np.array_equal(mixed.numpy(), expected)
    assert torch.equal(x, before)


@given(st.integers(0, 10**6), st.integers(2, 9))
def test_every_clip_has_another_ones_part(step, count):
    mix = draw(step, shape=(count, *SHAPE[1:]), mixup=1.0)
    partners = mix.partners(torch.arange(count)).tolist()
    assert sorted(partners) == list(range(count))
    assert all(i != j for i, j in enumerate(partners))


def test_a_draw_is_a_pure_function_of_seed_step_and_process():
    alphas = {"mixup": 0.8, "cutmix": 1.0}
    draws = [draw(**key, **alphas) for key in ({}, {"step": 1}, {"seed": 1}, {"rank": 1})]
    assert len(set(draws)) == 4
    assert draw(step=1, **alphas) == draws[1]


def test_shares_have_the_beta_distribution():
    for alpha in (0.2, 1.0, 4.0):
        shares = np.array([draw(step, mixup=alpha).share for step in range(3000)])
        spread = 1 / (4 * (2 * alpha + 1))  # the variance of Beta(alpha, alpha)
        assert abs(shares.mean() - 0.5) < 5 * np.sqrt(spread / len(shares))
        assert abs(shares.var() - spread) < 0.1 * spread
        assert (shares * 128 == np.rint(shares * 128)).all()


def test_boxes_are_of_the_pictures_shape_anywhere_in_it():
    shape = (2, 1, 5, 100, 200, 3)
    boxes = np.array([draw(step, shape=shape, cutmix=1.0).box for step in range(3000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 200).all()
    inside = (top > 0) & (left > 0) & (top + height < 100) & (left + width < 200)
    assert np.abs(2 * height[inside] - width[inside]).max() <= 2
    covered = np.zeros((100, 200))
    for y, x, rows, columns in boxes:
        covered[y : y + rows, x : x + columns] += 1
    assert covered.min() > 0.2 * covered.max()
    assert abs(covered.mean() / len(boxes) - 0.3) < 0.1


def test_mixup_and_cutmix_take_turns_at_random():
    kinds = [draw(step, mixup=0.3, cutmix=1.0).box is None for step in range(2000)]
    assert abs(np.mean(kinds) - 0.5) < 4 * 0.5 / np.sqrt(len(kinds))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_weighs_both_labels(smoothing):
    """As cross entropy with the mixed, smoothed distribution."""
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 7), torch.tensor([0, 6, 2, 2, 4])
    for mix in (Mix(2, 0.75), Mix(1, 0.4, Box(1, 1, 3, 3))):
        own, others = F.one_hot(labels, 7), F.one_hot(labels.roll(-mix.shift), 7)
        target = mix.share * own + (1 - mix.share) * others
        target = (1 - smoothing) * target + smoothing / 7
        expected = -(target * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(mix.loss(logits, labels, smoothing), expected)


def test_the_dominant_label_is_that_of_the_larger_share():
    labels = torch.tensor([3, 1, 4])
    assert Mix(1, 0.6).dominant(labels).tolist() == [3, 1, 4]
    assert Mix(1, 0.4).dominant(labels).tolist() == [1, 4, 3]


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_values_that_make_no_sense_are_refused(key):
    for words in ([f"--training.{key}=-1"], [f"--training.{key}=inf"], [f"--training.{key}=x"]):
        with pytest.raises(UserError, match=rf"training\.{key}"):
            load_config(None, ["--model.num_classes", "3", *words])
    alone = ["--model.num_classes", "3", f"--training.{key}=1", "--data.batch_size", "1"]
    with pytest.raises(UserError, match=rf"training\.{key}.*data\.batch_size"):
        load_config(None, alone)
