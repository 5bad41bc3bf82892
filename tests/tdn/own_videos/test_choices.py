from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.config import Config, DataConfig, ModelConfig, TemporalConfig
from tdn.config_loading import check_config, dump_config, load_config
from tdn.network import Network
from tdn.own_videos import choices as ch
from tdn.own_videos.choices import Choices, Videos, choose, choose_epochs, epochs_in, processes
from tdn.own_videos.footprint import kept_bytes
from tdn.own_videos.machine import GB, Machine
from tdn.own_videos.weights import Weights
from tdn.trained import create_network

CPU = Machine(2, int(8 * GB))
MACHINES = [
    Machine(1, int(2 * GB)),
    CPU,
    Machine(64, int(200 * GB)),
    *(Machine(8, int(size * GB), 1, "GPU", True) for size in (8, 24, 80)),
    Machine(8, int(8 * GB), 1, "old GPU", False),
    Machine(96, int(80 * GB), 8, "GPU", True),
]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


def chosen(
    machine: Machine = CPU,
    videos: int = 100,
    classes: tuple[str, ...] = names(2),
    side: int = 720,
    weights: Weights | None = None,
    words: tuple[str, ...] = (),
) -> Choices:
    config = load_config(None, ["--model.num_classes", str(len(classes)), *words])
    keys = frozenset(word[2:] for word in words if word.startswith("--"))
    choices = Choices(config, keys)
    choose(choices, machine, Videos(videos, classes, side), weights)
    return choices


@pytest.fixture(autouse=True, scope="module")
def quick_counting() -> Iterator[None]:
    """What a clip takes is counted once for each network and size."""
    counted: dict[tuple[object, ...], int] = {}

    def cached(network: Network, height: int, width: int) -> int:
        key = network.backbone, network.width, network.num_segments, height, width
        if key not in counted:
            counted[key] = kept_bytes(network, height, width)
        return counted[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ch, "kept_bytes", cached)
        yield


def bytes_of_a_clip(name: str, width: int, segments: int, classes: int, crop: int) -> int:
    model = ModelConfig(name=name, width=width, num_segments=segments, num_classes=classes)
    with torch.device("meta"):
        return ch.kept_bytes(create_network(model), crop, crop)


@settings(max_examples=10)
@given(
    st.sampled_from(MACHINES),
    st.sampled_from([2, 3, 8, 10, 1000, 100_000]),
    st.sampled_from([2, 400]),
    st.sampled_from([40, 240, 1080]),
)
def test_settings_keep_the_limits_of_machine_and_data(machine, videos, classes, side):
    choices = chosen(machine, videos, names(classes), side)
    config = choices.config
    data, model = config.data, config.model
    assert model.num_classes == classes
    together = processes(machine, videos)
    assert 1 <= together <= max(1, machine.gpus)
    assert 1 <= data.batch_size * together <= videos
    if videos >= 4 * together:
        assert videos // (data.batch_size * together) >= 2  # steps in an epoch
    clip = bytes_of_a_clip(model.name, model.width, model.num_segments, classes, data.crop_size)
    taken = data.batch_size * clip / (2 if machine.half else 1)
    assert taken < machine.memory or data.batch_size == 1
    assert 33 <= data.crop_size <= data.short_side <= 256
    assert data.short_side <= max(64, 1.34 * side)  # hardly any pixels are made up
    assert 1 <= data.num_threads <= machine.cores
    assert all(choice.reason and "\n" not in choice.reason for choice in choices.chosen)
    check_config(config)


def test_what_is_chosen_is_a_configuration_that_reads_back(tmp_path):
    config = chosen(MACHINES[3], 1000, ("turn left", "turn right")).config
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("memory", [8, 24, 80])
def test_a_gpu_gets_the_published_network_and_as_many_clips_as_fit(memory):
    config = chosen(Machine(8, int(memory * GB), 1, "GPU", True), 1000).config
    assert (config.model.name, config.model.width) == ("tdn_resnet50", 64)
    assert (config.data.crop_size, config.data.short_side) == (224, 256)
    assert config.data.batch_size == {8: 4, 24: 16, 80: 32}[memory]


def test_a_cpu_gets_a_small_network():
    config = chosen().config
    with torch.device("meta"):
        network = create_network(config.model)
    assert sum(parameter.numel() for parameter in network.parameters()) < 4e6
    assert config.data.crop_size <= 128


def test_small_videos_are_not_blown_up():
    config = chosen(side=72).config
    assert (config.data.short_side, config.data.crop_size) == (64, 48)


def test_what_is_given_is_not_touched():
    words = ("--data.batch_size", "3", "--model.name", "tdn_resnet34", "--optimizer.lr", "0.5")
    choices = chosen(words=words)
    config = choices.config
    assert (config.data.batch_size, config.model.name) == (3, "tdn_resnet34")
    assert config.optimizer.lr == 0.5
    assert not {choice.key for choice in choices.chosen} & {word[2:] for word in words}


def test_another_optimizer_keeps_its_defaults():
    config = chosen(words=("--optimizer.name", "sgd")).config
    assert config.optimizer == dataclasses.replace(Config().optimizer, name="sgd")


@pytest.mark.parametrize(
    ("classes", "flip", "labels"),
    [
        (("walking", "running"), True, {}),
        (("bright", "leftovers", "copyright"), True, {}),
        (("turn left", "turn right", "walk"), True, {0: 1, 1: 0}),
        (("LEFT_hand", "RIGHT_hand"), True, {0: 1, 1: 0}),
        (("walk", "swipeLeft", "swipeRight"), True, {1: 2, 2: 1}),
        (("from left to right", "from right to left"), True, {0: 1, 1: 0}),
        (("turn left", "walk"), False, {}),
        (("turn left", "turn right", "look right"), False, {}),
    ],
)
def test_sides_in_names_decide_about_mirroring(classes, flip, labels):
    config = chosen(classes=classes).config
    assert (config.data.flip, config.data.flip_labels) == (flip, labels)


def weights(config: Config | None, kind: str, classes: tuple[str, ...] = ()) -> Weights:
    model = config.model if config else ModelConfig(name="tdn_resnet34", width=64)
    return Weights(Path("some/w.pt"), kind, model, classes, config)


def test_weights_decide_about_the_network():
    former = Config(
        model=ModelConfig("tdn_resnet18", 4, 2, 0.3, 24, temporal=TemporalConfig(stages=(3,))),
        data=DataConfig(crop_size=(64, 80), short_side=72),
    )
    config = chosen(weights=weights(former, "ours", ("a", "b"))).config
    model = config.model
    assert (model.name, model.num_segments, model.width) == ("tdn_resnet18", 4, 24)
    assert model.temporal.stages == (3,)
    assert model.dropout == 0.3
    assert (config.data.crop_size, config.data.short_side) == ((64, 80), 72)
    assert model.new_head
    same = chosen(weights=weights(former, "ours", names(2)))
    assert not same.config.model.new_head
    assert not same.config.optimizer.multipliers


def test_weights_of_imagenet_have_no_classifier_to_leave_out():
    from tdn.checkpoint import TORCHVISION

    config = chosen(weights=weights(None, TORCHVISION)).config
    assert config.model.name == "tdn_resnet34"
    assert not config.model.new_head
    assert config.optimizer.lr < chosen().config.optimizer.lr
    assert config.optimizer.multipliers["classifier"]["lr"] > 1


@given(st.floats(1e-3, 1e5), st.floats(0.01, 1e4), st.sampled_from([40, 100]))
def test_epochs_fit_the_time_or_are_the_fewest(seconds, minutes, most):
    epochs = epochs_in(seconds, minutes, most)
    assert ch.LEAST_EPOCHS <= epochs <= most
    time = 60 * minutes
    assert epochs * seconds <= time or epochs == ch.LEAST_EPOCHS
    assert (epochs + 1) * seconds > time * (1 - 1e-9) or epochs == most


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.1, "hardly help"), (6.0, "what there is time for"), (3600.0, "too short")],
)
def test_why_so_many_epochs(seconds, says):
    choices = chosen()
    choose_epochs(choices, seconds, 2.0, ch.MOST_EPOCHS)
    reasons = {choice.key: choice.reason for choice in choices.chosen}
    assert says in reasons["training.epochs"]
    training = choices.config.training
    assert 1 <= training.validate_every <= training.epochs
    assert training.epochs // training.validate_every <= ch.VALIDATIONS


def test_given_epochs_are_kept():
    choices = chosen(words=("--training.epochs", "7"))
    choose_epochs(choices, 1.0, 2.0, 100)
    assert (choices.config.training.epochs, choices.config.training.validate_every) == (7, 2)


def test_memory_is_what_is_known_of_the_published_network():
    """0.41 to 1.01 GiB a clip, as the product's tables have it for eager PyTorch."""
    assert bytes_of_a_clip("tdn_resnet50", 64, 8, 174, 224) / 2**30 == pytest.approx(1.01, abs=0.01)
