"""The hot loop gives the device its work and never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import adam, sgd

import tdn
from tdn.models import create_model
from tdn.training import build, trainer
from tdn.training.metrics import Tally
from tdn.training.precision import Precision
from tdn.training.processes.distributed import Processes
from tdn.training.trainer import train
from tests.tdn import synthetic
from tests.tdn.synthetic import tiny_config
from tests.tdn.training.synchronisations import DEVICE, Strict, Synchronisations

DEVICES = [DEVICE.type, *(["cuda"] if torch.cuda.is_available() else [])]
STEPS = 4


class EnoughError(Exception):
    """Ends a run in the middle of an epoch."""


class OnDevice(Precision):
    """torch knows no autocast for a device without values; it would not change what waits."""

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()


def count(folder: Path, tiny, monkeypatch, device: str, **settings: object) -> list[str]:
    """What waits for the device in the steps between two reports."""
    config = tiny_config(str(folder), training__log_every=100, **settings)
    if device == "cuda":
        config.training.device = device
    else:
        alone = Processes(rank=0, world_size=1, device=DEVICE)
        monkeypatch.setattr(trainer, "open_processes", lambda _: nullcontext(alone))
        for module in (sgd, adam):
            monkeypatch.setattr(module, "_device_dtype_check_for_fused", lambda *_, **__: None)
        monkeypatch.setattr(build, "choose_precision", lambda name, _: OnDevice(name, device))
    seen = Strict() if device == "cuda" else Synchronisations()

    def before_batch(epoch: int, step: int) -> None:
        if step == 0:
            watching.enter_context(seen)
        if step == STEPS * config.training.accumulate:
            raise EnoughError

    tiny.hooks["train"] = before_batch
    with ExitStack() as watching, pytest.raises(EnoughError):
        train(config)
    return seen.found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer__name": "adamw", "optimizer__clip_norm": 0.0},
        {"optimizer__name": "lamb"},
        {"training__precision": "fp16"},
        {"training__accumulate": 2, "data__batch_size": 4, "training__label_smoothing": 0.1},
        {"training__mixup": 0.8},
        {"training__cutmix": 1.0},
        {"training__ema": 0.9},
        {"training__non_finite": "skip"},
        {"training__non_finite": "skip", "optimizer__name": "lamb"},
        {"logging__tensorboard": True},
    ],
    ids=lambda settings: "-".join(settings) or "published",
)
def test_no_step_waits_for_the_device(tmp_path, tiny, monkeypatch, device, settings):
    assert count(tmp_path, tiny, monkeypatch, device, **settings) == []


@pytest.mark.parametrize("device", DEVICES)
def test_the_network_itself_does_not_wait(tmp_path, tiny, monkeypatch, device):
    monkeypatch.setattr(tdn, "create_model", create_model)
    monkeypatch.setattr(synthetic, "SIDE", 48)
    settings = {"model__name": "tdn_resnet10", "data__batch_size": 2, "data__train_list": "12"}
    assert count(tmp_path, tiny, monkeypatch, device, **settings) == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "mistake",
    [
        lambda scores: scores.sum().item(),
        lambda scores: float(scores.float().mean()),
        lambda scores: bool(scores.max() > 3),
        lambda scores: scores.tolist(),
        lambda scores: scores.cpu(),
        lambda scores: scores[scores > 0],
        lambda scores: scores.nonzero(),
        lambda scores: torch.equal(scores, scores),
        lambda scores: torch.tensor([1.0], device=scores.device),
        lambda scores: torch.ones(3).to(scores.device),
        lambda scores: torch.empty_like(scores[0]).copy_(torch.ones(6)),
        lambda scores: scores[torch.tensor([0, 1])],
    ],
)
def test_a_step_that_waits_is_found(
    tmp_path, tiny, monkeypatch, device, mistake: Callable[[Tensor], object]
):
    """Each could be somebody's next line in the loop."""
    whole = Tally.add

    def add(self: Tally, loss: Tensor, scores: Tensor, *others: Tensor, counts: Tensor) -> None:
        mistake(scores)
        whole(self, loss, scores, *others, counts)

    monkeypatch.setattr(Tally, "add", add)
    found = count(tmp_path, tiny, monkeypatch, device)
    assert len(found) >= STEPS
    assert all(__file__ in line for line in found)
