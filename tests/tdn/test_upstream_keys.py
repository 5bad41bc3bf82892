from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn import create_model
from tdn.models import list_models
from tdn.upstream_keys import name_of_upstream, torchvision_key, upstream_key
from tests.tdn.upstream_recipe import inventory


def state(name):
    with torch.device("meta"):
        return create_model(name, num_classes=174).state_dict()


def test_names_shapes_and_order_are_those_of_a_released_checkpoint():
    released = {
        key.removeprefix("module."): shape
        for key, shape in inventory().items()
        if "conv1_temp" not in key
    }
    ours = {upstream_key(name): tuple(v.shape) for name, v in state("tdn_resnet50").items()}
    assert list(ours.items()) == list(released.items())


@pytest.mark.parametrize("name", list_models())
def test_the_table_reads_both_ways(name):
    tensors = state(name)
    keys = [upstream_key(tensor) for tensor in tensors]
    assert len(set(keys)) == len(keys)
    assert [name_of_upstream(key) for key in keys] == list(tensors)


def test_the_classifier_has_two_places():
    assert name_of_upstream("new_fc.weight") == "classifier.weight"
    assert name_of_upstream("base_model.fc.bias") == "classifier.bias"


@pytest.mark.parametrize(
    "key",
    [
        "base_model.conv1_temp.weight",
        "base_model.conv1_5.2.weight",
        "base_model.layer5_bak.0.conv1.weight",
        "base_model.layer1_bak.0.conv4.weight",
        "base_model.layer1_bak.weight",
        "stem.conv.weight",
        "",
    ],
)
def test_foreign_keys_have_no_name(key):
    name = name_of_upstream(key)
    assert name is None or name not in state("tdn_resnet50")


@given(st.text(alphabet="abcdefgmnorstvx_.0123456789", max_size=40))
def test_no_text_is_taken_for_another_tensor(key):
    name = name_of_upstream(key)
    assert name is None or name_of_upstream(upstream_key(name)) == name


def test_our_unknown_names_are_a_defect():
    with pytest.raises(KeyError):
        upstream_key("head.weight")


def test_torchvision_starts_the_resnet_and_the_copy_of_stage_1():
    keys = {name: torchvision_key(name) for name in state("tdn_resnet50")}
    assert keys["stem.conv.weight"] == "conv1.weight"
    assert keys["stage1.0.shortcut.conv.weight"] == "layer1.0.downsample.0.weight"
    assert keys["short_term.stage.2.norm3.running_var"] == "layer1.2.bn3.running_var"
    assert keys["stage4.1.conv2.weight"] == "layer4.1.conv2.weight"
    none = {name for name, key in keys.items() if key is None}
    assert {"stem.conv.bias", "stage3.0.conv1.bias", "classifier.bias"} <= none
    assert all(
        name.endswith("bias")
        or name.startswith(("short_term.conv.", "short_term.norm.", "classifier."))
        or "long_term" in name
        or "temporal_conv" in name
        for name in none
    )
