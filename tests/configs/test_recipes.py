"""The recipes in configs/: each is what the paper (section 4.2) and the released code say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tdn.config import Config, EvaluationConfig
from tdn.config_loading import load_config
from tdn.trained import create_network
from tdn.training.optimizing.schedules import peak_rate

CONFIGS = Path(__file__).parents[2] / "configs"


class Published(NamedTuple):
    """What holds for all networks of a data set."""

    classes: int
    lr: float
    """On 8 GPUs."""
    batch_size: int
    """Clips per GPU."""
    epochs: int
    milestones: list[int]
    weight_decay: float
    dropout: float
    clips: int
    crops: int
    networks: tuple[str, ...]


BOTH = ("r50_8f", "r50_16f", "r101_8f", "r101_16f")
SOMETHING = Published(174, 0.01, 8, 60, [30, 45, 55], 5e-4, 0.5, 1, 1, BOTH)
FINE_TUNED = Published(101, 0.002, 16, 25, [10, 20], 1e-4, 0.8, 10, 3, ("r50_16f",))
PUBLISHED = {
    "ssv1": SOMETHING,
    "ssv2": SOMETHING,
    "kinetics400": Published(400, 0.02, 16, 100, [50, 75, 90], 1e-4, 0.5, 10, 3, BOTH),
    "ucf101": FINE_TUNED,
    "hmdb51": FINE_TUNED._replace(classes=51),
}
RECIPES = [f"{data}_{network}" for data, known in PUBLISHED.items() for network in known.networks]
RELEASED_PARAMETERS = {
    ("r50", 174): 24_420_046,
    ("r50", 400): 24_883_120,
    ("r101", 174): 43_681_726,
}
DEAD = 9_472
"""Parameters of the released code that it never uses, and that are not here."""


def test_these_are_all_recipes():
    found = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert {stem for stem in found if stem.endswith("f")} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_published_one(name):
    data, backbone, frames = name.split("_")
    published = PUBLISHED[data]
    config = load_config(CONFIGS / f"{name}.yaml")

    assert config.model.name == {"r50": "tdn_resnet50", "r101": "tdn_resnet101"}[backbone]
    assert config.model.num_segments == int(frames.removesuffix("f"))
    assert config.model.num_classes == published.classes
    assert config.model.dropout == published.dropout
    assert config.data.batch_size == published.batch_size
    assert config.optimizer.weight_decay == published.weight_decay
    assert config.schedule.milestones == published.milestones
    assert config.training.epochs == published.epochs
    assert config.evaluation == EvaluationConfig(published.clips, published.crops)
    for gpus in (8, 2, 1):
        lr = peak_rate(config.optimizer, gpus * config.data.batch_size)
        assert lr == pytest.approx(published.lr * gpus / 8)

    fine_tuned = data in ("ucf101", "hmdb51")
    weights = {"r50": "resnet50-19c8e357.pth", "r101": "resnet101-5d3b4d8f.pth"}[backbone]
    weights = f"kinetics400_{backbone}_{frames}.pt" if fine_tuned else weights
    assert config.model.pretrained == f"checkpoints/{weights}"
    assert config.model.new_head == fine_tuned
    assert config.data.flip_labels == ("something-something" if data.startswith("ssv") else {})
    assert config.data.min_frames == (1 if data == "kinetics400" else 8)
    split = "_split1" if fine_tuned else ""
    assert config.data.train_list == f"data/{data}/train{split}.txt"
    assert config.data.validation_list == f"data/{data}/validation{split}.txt"
    assert config.data.classes == f"data/{data}/classes.txt"
    assert config.output == f"runs/{name}"
    check_what_it_leaves_out(config)
    check_network(config, backbone)


def check_what_it_leaves_out(config: Config) -> None:
    """The defaults are the published recipe."""
    optimizer, schedule, data = config.optimizer, config.schedule, config.data
    assert (optimizer.name, optimizer.momentum, optimizer.clip_norm) == ("sgd", 0.9, 20)
    assert (optimizer.multipliers, config.model.partial_bn) == ({}, False)
    assert (schedule.name, schedule.gamma, schedule.warmup_epochs) == ("step", 0.1, 0)
    assert (data.sampling, data.stride, data.crop_size, data.short_side) == ("sparse", 1, 224, 256)
    assert (data.flip, data.scales) == (True, [1, 0.875, 0.75, 0.66])
    assert (data.color_ops, data.erasing, config.training.accumulate) == (0, 0, 1)
    training = config.training
    assert (training.mixup, training.cutmix, training.label_smoothing) == (0, 0, 0)
    assert (training.ema, training.sync_bn, training.precise_bn) == (0, False, 0)
    assert (config.model.width, config.model.temporal) == (64, Config().model.temporal)


def check_network(config: Config, backbone: str) -> None:
    """It has as many parameters as the released one."""
    with torch.device("meta"):
        network = create_network(config.model)
    classes = config.model.num_classes
    features = 2048 + 1  # and the bias
    released = RELEASED_PARAMETERS[backbone, 174] + (classes - 174) * features
    assert RELEASED_PARAMETERS.get((backbone, classes), released) == released
    assert sum(parameter.numel() for parameter in network.parameters()) == released - DEAD
