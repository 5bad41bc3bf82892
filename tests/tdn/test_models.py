from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

import tdn
from tdn import UserError, create_model
from tdn.config import ModelConfig, TemporalConfig
from tdn.models import BACKBONES, VARIANTS, list_models
from tdn.network import Network

DEAD = 9_472
"""Parameters that the released networks have and never use."""


def parameters(name, **settings):
    with torch.device("meta"):
        return sum(p.numel() for p in create_model(name, **settings).parameters())


@pytest.mark.parametrize(
    ("name", "classes", "published"),
    [
        ("tdn_resnet50", 174, 24_420_046),
        ("tdn_resnet50", 400, 24_883_120),
        ("tdn_resnet101", 174, 43_681_726),
    ],
)
@pytest.mark.parametrize("segments", [8, 16])
def test_published_sizes(name, classes, published, segments):
    found = parameters(name, num_classes=classes, num_segments=segments)
    assert found == published - DEAD


@pytest.mark.parametrize(
    ("name", "resnet"),
    [
        ("tsn_resnet18", 11_689_512),
        ("tsn_resnet34", 21_797_672),
        ("tsn_resnet50", 25_557_032),
        ("tsn_resnet101", 44_549_160),
        ("tsn_resnet152", 60_192_808),
    ],
)
def test_baselines_are_resnets_with_biases(name, resnet):
    with torch.device("meta"):
        model = create_model(name, num_classes=1000)
    convs = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    biases = sum(conv.out_channels for conv in convs)
    assert sum(p.numel() for p in model.parameters()) == resnet + biases


VARIED = [f"{variant}_{backbone}" for variant in VARIANTS for backbone in ("resnet10", "resnet50")]


@pytest.mark.parametrize("name", [*VARIED, *(n for n in list_models() if n.startswith("tdn_"))])
def test_every_name_makes_a_network_that_learns(name):
    model = create_model(name, num_classes=3, num_segments=2, width=4)
    assert isinstance(model, Network)
    assert model.training
    clips = torch.randint(0, 256, (2, 2, 5, 33, 40, 3), dtype=torch.uint8)
    logits = model(clips)
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_names():
    names = list_models()
    assert len(set(names)) == len(names) == len(VARIANTS) * len(BACKBONES)
    assert len(set(VARIANTS.values())) == len(VARIANTS) == 8
    assert {"tdn_resnet50", "tdn_resnet101", "tsn_resnet50", "tdn_resnet10"} <= set(names)


def test_width_scales_every_layer():
    assert parameters("tdn_resnet18", num_classes=10, width=32) < 0.3 * parameters(
        "tdn_resnet18", num_classes=10
    )
    model = create_model("tdn_resnet10", num_classes=2, width=24)
    assert model.stem.conv.out_channels == 24
    assert model.classifier.in_features == 192


@pytest.mark.parametrize(
    ("given", "near"),
    [("tdn_resnet5O", "tdn_resnet50"), ("tdnresnet101", "tdn_resnet101"), ("tsn-resnet18", "tsn")],
)
def test_an_unknown_name_is_answered_with_a_near_one(given, near):
    with pytest.raises(UserError, match=near) as refusal:
        create_model(given, num_classes=2)
    assert given in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "temporal", "key"),
    [
        ("tdn_resnet10", {"stages": ()}, "stages"),
        ("tdn_resnet10", {"stages": (2, 5)}, "stages"),
        ("tsn_resnet10", {"stages": (2, 3)}, "stages"),
        ("stdm_resnet10", {"branches": "none"}, "branches"),
        ("tconv_resnet10", {"directions": "next"}, "directions"),
        ("ltdm_resnet10", {"fusions": "first"}, "fusions"),
        ("ltdm-tconv_resnet10", {"fusion_weights": (1.0, 1.0)}, "fusion_weights"),
    ],
)
def test_details_that_a_network_has_no_place_for_are_refused_by_key(name, temporal, key):
    with pytest.raises(UserError, match=rf"model\.temporal\.{key}") as refusal:
        create_model(name, num_classes=2, temporal=TemporalConfig(**temporal))
    assert len(str(refusal.value).splitlines()) == 1


def test_the_rule_for_other_than_8_segments_is_told_once(caplog):
    def made(name="tdn_resnet10", segments=7, weights=None):
        caplog.clear()
        details = TemporalConfig(fusion_weights=weights)
        with torch.device("meta"):
            model = create_model(name, num_classes=2, num_segments=segments, temporal=details)
        return model.fusion_weights, [record.levelname for record in caplog.records]

    assert made(segments=8) == ((0.5, 0.5), [])
    assert made(weights=(0.6, 0.4)) == ((0.6, 0.4), [])
    assert made("ltdm_resnet10")[1] == []
    assert made() == ((0.75, 0.25), ["WARNING"])
    assert made() == ((0.75, 0.25), [])


@pytest.mark.parametrize(
    "given",
    ["", "x", "tdn", "tdn_", "resnet50", "tdn_resnet50_", "TDN", 5, None, ["tdn_resnet50"]],
)
def test_any_other_name_is_refused(given):
    with pytest.raises(UserError, match="resnet152") as refusal:
        create_model(given, num_classes=2)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 0},
        {"num_classes": -1},
        {"num_classes": 2, "num_segments": 0},
        {"num_classes": 2, "width": 0},
        {"num_classes": 2, "width": "64"},
        {"num_classes": 2, "width": 32.0},
        {"num_classes": 2, "width": True},
        {"num_classes": 2, "dropout": 1.0},
        {"num_classes": 2, "dropout": -0.1},
        {"num_classes": 2, "dropout": float("nan")},
    ],
)
def test_numbers_that_do_not_fit_are_refused_by_key(settings):
    key = list(settings)[-1]
    with pytest.raises(UserError, match=f"model.{key}") as refusal:
        create_model("tdn_resnet10", **settings)
    assert len(str(refusal.value).splitlines()) == 1


def test_the_package_offers_it():
    assert tdn.create_model is create_model
    assert tdn.list_models is list_models
    parameters = set(inspect.signature(create_model).parameters)
    keys = {field.name for field in dataclasses.fields(ModelConfig)}
    assert parameters == keys - {"pretrained", "new_head"}
