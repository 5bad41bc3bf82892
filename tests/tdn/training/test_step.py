from __future__ import annotations

import copy
import traceback

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tdn.training.extras.ema import WeightAverage
from tdn.training.extras.mixing import draw_mix
from tdn.training.optimizing.optimizers import create_optimizer
from tdn.training.optimizing.schedules import create_schedule
from tdn.training.precision import choose_precision
from tdn.training.processes.distributed import Processes
from tdn.training.step import TrainingStep, seed_step
from tests.tdn.synthetic import TinyNetwork, make_batch, tiny_config

CPU = torch.device("cpu")
ALONE = Processes(rank=0, world_size=1, device=CPU)


def make_step(
    model: nn.Module,
    precision: str = "fp32",
    average: WeightAverage | None = None,
    **settings: object,
) -> TrainingStep:
    config = tiny_config("unused", **settings)
    optimizer = create_optimizer(config.optimizer, model.named_parameters(), CPU).optimizer
    return TrainingStep(
        model,
        optimizer,
        choose_precision(precision, CPU),
        create_schedule(config, 5, config.data.batch_size),
        config,
        ALONE,
        average,
    )


class Linear(nn.Module):
    """Logits straight from the pixels' mean over time: its gradient has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 6)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.head(clips.float().div(255).mean((1, 2)).flatten(1))


@pytest.mark.parametrize(("clip_norm", "clips"), [(0.02, True), (20.0, False), (0.0, False)])
def test_sgd_is_the_published_update(clip_norm, clips):
    """Three steps against NumPy: softmax gradient, clip over all, decay on all, heavy-ball."""
    torch.manual_seed(0)
    model = Linear()
    weight, bias = (p.detach().double().numpy().copy() for p in model.head.parameters())
    step = make_step(
        model,
        optimizer__clip_norm=clip_norm,
        optimizer__lr=0.5,
        optimizer__weight_decay=0.05,
        schedule__name="step",
        schedule__milestones=[],
    )
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    for number in range(3):
        batch = make_batch(np.arange(8) + 8 * number)
        result = step([batch], number)

        x = batch.clips.double().div(255).mean((1, 2)).flatten(1).numpy()
        scores = x @ weight.T + bias
        softmax = np.exp(scores - scores.max(1, keepdims=True))
        softmax /= softmax.sum(1, keepdims=True)
        at_labels = softmax[np.arange(8), batch.labels.numpy()]
        softmax[np.arange(8), batch.labels.numpy()] -= 1
        gradients = [softmax.T @ x / 8, softmax.mean(0)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        assert (0 < clip_norm < norm) == clips
        factor = min(1.0, clip_norm / norm) if clip_norm else 1.0
        for i, parameter in enumerate((weight, bias)):
            velocity[i] = 0.9 * velocity[i] + factor * gradients[i] + 0.05 * parameter
            parameter -= 0.5 * velocity[i]

        assert result.loss.item() == pytest.approx(-np.log(at_labels).mean(), rel=1e-5)
        assert result.gradient_norm.item() == pytest.approx(norm, rel=1e-4)
        np.testing.assert_allclose(model.head.weight.detach(), weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model.head.bias.detach(), bias, rtol=1e-5, atol=1e-6)


def test_the_schedule_decides_the_rate_of_each_step():
    torch.manual_seed(0)
    model = TinyNetwork("tiny", 6, 0.0, 16)
    step = make_step(model, schedule__name="step", schedule__milestones=[1], schedule__gamma=1e-9)
    before = model.head.weight.detach().clone()
    step([make_batch(np.arange(8))], 5)
    torch.testing.assert_close(model.head.weight.detach(), before, rtol=0, atol=1e-6)
    step([make_batch(np.arange(8))], 4)
    assert (model.head.weight.detach() - before).abs().max() > 1e-4


def test_parts_of_the_network_have_rates_and_decay_of_their_own():
    """One step of plain SGD: what each part moves by is its own rate times gradient and decay."""
    torch.manual_seed(0)
    model = TinyNetwork("tiny", 6, 0.0, 16)
    batch = make_batch(np.arange(8))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    F.cross_entropy(model(batch.clips), batch.labels).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    step = make_step(
        model,
        schedule__name="constant",
        optimizer__momentum=0.0,
        optimizer__clip_norm=0.0,
        optimizer__weight_decay=0.1,
        optimizer__lr=0.5,
        optimizer__multipliers={
            "head": {"lr": 10.0},
            "head.bias": {"lr": 2.0, "weight_decay": 0.0},
            "hidden": {"weight_decay": 3.0},
        },
    )
    step([batch], 0)
    expected = {
        "hidden.weight": (0.5, 0.3),
        "hidden.bias": (0.5, 0.3),
        "head.weight": (5.0, 0.1),
        "head.bias": (1.0, 0.0),
    }
    for name, parameter in model.named_parameters():
        rate, decay = expected[name]
        moved = before[name] - rate * (gradients[name] + decay * before[name])
        torch.testing.assert_close(parameter.detach(), moved)


def test_label_smoothing_is_in_the_loss():
    torch.manual_seed(0)
    model = TinyNetwork("tiny", 6, 0.0, 16)
    batch = make_batch(np.arange(8))
    expected = F.cross_entropy(model(batch.clips), batch.labels, label_smoothing=0.3).item()
    assert make_step(model, training__label_smoothing=0.3)([batch], 0).loss.item() == expected


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_batches_of_one_step_are_one_large_batch(precision):
    """Three updates with four batches of 2 clips each, and with one batch of 8."""
    results, weights = {}, {}
    for count in (1, 4):
        torch.manual_seed(0)
        model = TinyNetwork("tiny", 6, 0.0, 16)
        step = make_step(
            model,
            precision,
            training__accumulate=count,
            optimizer__clip_norm=0.1,
            optimizer__lr=1.0,
        )
        for number in range(3):
            rows = np.arange(8 * number, 8 * number + 8)
            result = step([make_batch(part) for part in np.split(rows, count)], number)
            assert torch.equal(result.rows, torch.from_numpy(rows))
        results[count], weights[count] = result, model.state_dict()
    one, four = results.values()
    assert torch.equal(one.labels, four.labels)
    close = {"rtol": 2e-2, "atol": 2e-3} if precision == "fp16" else {}
    for key in ("loss", "logits", "gradient_norm"):
        torch.testing.assert_close(getattr(one, key), getattr(four, key), **close)
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[4][name], value, **close)


def test_batches_of_one_step_have_their_own_dropout():
    torch.manual_seed(0)
    model = TinyNetwork("tiny", 6, 0.5, 16)
    batch = make_batch(np.arange(8))
    step = make_step(model, training__accumulate=2, optimizer__lr=1e-12)
    first, second = step([batch, batch], 3).logits.chunk(2)
    assert not torch.allclose(first, second)
    third, fourth = step([batch, batch], 4).logits.chunk(2)
    assert not torch.allclose(second, third)
    alone = [make_step(model, optimizer__lr=1e-12)([batch], number).logits for number in (6, 9)]
    torch.testing.assert_close(first, alone[0])
    torch.testing.assert_close(fourth, alone[1])


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_mixed_clips_and_labels_are_what_is_trained_on(settings):
    """The network sees the mixed clips; the loss has both labels, the accuracy the larger one."""
    torch.manual_seed(0)
    model = TinyNetwork("tiny", 6, 0.0, 16)
    batch = make_batch(np.arange(8))
    before = batch.clips.clone()
    taken = set()
    for number in range(8):
        # After a step the model is another one, so each is taken by a copy of the first.
        copied = copy.deepcopy(model)
        config = tiny_config("unused", **{f"training__{k}": v for k, v in settings.items()})
        config.training.label_smoothing = 0.1
        mix = draw_mix(config.training, config.seed, number, 0, batch.clips.shape)
        logits = model(mix.clips(batch.clips))
        step = make_step(copied, training__label_smoothing=0.1, **{
            f"training__{key}": value for key, value in settings.items()
        })  # fmt: skip
        result = step([batch], number)
        torch.testing.assert_close(result.logits, logits)
        torch.testing.assert_close(result.loss, mix.loss(logits, batch.labels, 0.1).detach())
        dominant = batch.labels if mix.share >= 0.5 else batch.labels.roll(-mix.shift)
        assert torch.equal(result.labels, dominant)
        taken.add(mix.share >= 0.5)
    assert taken == {True, False}
    assert torch.equal(batch.clips, before)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_trains_and_clips_true_gradients(precision):
    """The norm is taken after unscaling: it agrees with fp32's, not with the scaled loss's."""
    norms = {}
    for name in ("fp32", precision):
        torch.manual_seed(0)
        model = TinyNetwork("tiny", 6, 0.0, 16)
        step = make_step(model, name, schedule__name="constant", optimizer__lr=1.0)
        batch = make_batch(np.arange(8))
        losses = [step([batch], number) for number in range(15)]
        norms[name] = losses[0].gradient_norm.item()
        assert losses[-1].loss < 0.7 * losses[0].loss
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert norms[precision] == pytest.approx(norms["fp32"], rel=0.05)


def test_dropout_depends_on_seed_step_and_process_only():
    def draw(*key: int) -> list[float]:
        seed_step(*key)
        return torch.rand(4).tolist()

    draws = [draw(*key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**62, 9, 3)]]
    assert len({tuple(values) for values in draws}) == 5
    torch.rand(7)
    assert draw(0, 1, 0) == draws[2]


def test_devices_that_are_not_in_use_cost_a_step_nothing(monkeypatch):
    """``torch.manual_seed`` formats a traceback for each, to seed it when it is first used."""
    seeded = []
    monkeypatch.setattr(traceback, "format_stack", lambda: pytest.fail("a device was asked for"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    seed_step(0, 1, 2)
    assert seeded == []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    seed_step(0, 1, 2)
    assert seeded == [torch.default_generator.initial_seed()]


def test_a_step_repeats_exactly_whatever_was_drawn_before():
    results = []
    for draws in (0, 5):
        torch.manual_seed(0)
        model = TinyNetwork("tiny", 6, 0.5, 16)
        torch.rand(draws)
        results.append(make_step(model)([make_batch(np.arange(8))], 3).logits)
    assert torch.equal(*results)
