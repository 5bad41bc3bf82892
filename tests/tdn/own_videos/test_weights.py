from __future__ import annotations

import pytest
import torch

from benchmarks.harness.literal_tdn import LiteralTDN
from tdn import UserError, create_model
from tdn.checkpoint import OWN, TORCHVISION, UPSTREAM, export_upstream
from tdn.models import BACKBONES, RELEASED, VARIANTS
from tdn.own_videos.weights import _backbone, look_into
from tests.tdn.test_checkpoint import RESNETS, ResNet
from tests.tdn.trained_networks import NAMES


def saved(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return path


def test_a_run_s_checkpoint_says_what_it_is(checkpoint, config):
    found = look_into(checkpoint)
    assert (found.format, found.model, found.classes) == (OWN, config.model, NAMES)
    assert found.config == config
    assert found.knows_motion


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_bare_state_says_it_by_its_names(tmp_path, variant):
    model = create_model(f"{variant}_resnet10", num_classes=7, width=24, num_segments=2)
    found = look_into(saved(tmp_path, model.state_dict()))
    settings = found.model
    assert (settings.name, settings.width, settings.num_classes) == (f"{variant}_resnet10", 24, 7)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_is_told_from_the_others(tmp_path, backbone):
    with torch.device("meta"):
        model = create_model(f"tdn_{backbone}", num_classes=7, width=8)
    for content in (model.state_dict(), export_upstream(model)):
        assert _backbone(content, tmp_path) == backbone


def test_a_checkpoint_of_the_released_code(tmp_path):
    literal = LiteralTDN((1, 1, 1, 1), False, width=8, t=2, classes=5)
    state = {f"module.{key}": value for key, value in literal.state_dict().items()}
    found = look_into(saved(tmp_path, {"state_dict": state}))
    assert found.format == UPSTREAM
    assert (found.model.name, found.model.width) == ("tdn_resnet10", 8)
    assert found.model.num_classes == 5
    assert found.knows_motion


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_of_imagenet(tmp_path, name):
    found = look_into(saved(tmp_path, ResNet(*RESNETS[name], width=8).imagenet_state()))
    assert (found.format, found.model.name) == (TORCHVISION, f"tdn_{name}")
    assert (found.model.width, found.model.num_classes) == (8, 0)
    assert not found.knows_motion


def test_what_has_no_name_here_is_refused(tmp_path):
    state = create_model("tdn_resnet18", num_classes=2, width=8).state_dict()
    odd = {name: value for name, value in state.items() if not name.startswith("stage3.1.")}
    with pytest.raises(UserError, match="2, 2, 1, 2 blocks") as told:
        look_into(saved(tmp_path, odd))
    assert all(name in str(told.value) for name in RELEASED)


def test_what_are_no_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="no tensor"):
        look_into(saved(tmp_path, {"a": 1}))
