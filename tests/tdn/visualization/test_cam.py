from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tdn.kernels.short_term_stem import short_term_stem
from tdn.models import create_model
from tdn.visualization.cam import LAYERS, activation_map, temporal_responses

RESPONSES = {
    "tdn": {
        "S-TDM after the stem",
        "S-TDM after stage 1",
        *(f"L-TDM stage {n}" for n in (2, 3, 4)),
    },
    "stdm": {"S-TDM after the stem", "S-TDM after stage 1"},
    "ltdm-tconv": {f"L-TDM stage {n}" for n in (2, 3, 4)},
    "tsn": set(),
}


def network(variant="tdn"):
    torch.manual_seed(0)
    model = create_model(f"{variant}_resnet10", num_classes=4, num_segments=3, width=8)
    with torch.no_grad():
        for _ in range(10):
            model(torch.randint(256, (4, 3, 5, 64, 96, 3), dtype=torch.uint8))
        model.classifier.weight.normal_(0, 0.2)
    return model.eval()


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (1, 3, 5, 64, 96, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("label", [None, 0, 3])
def test_of_the_last_stage_it_is_the_classifiers_weight_on_each_place(clip, label):
    """With a mean and a linear classifier behind it, Grad-CAM needs no gradient."""
    model = network()
    found = activation_map(model, clip, label)
    with torch.inference_mode():
        maps, logits = model.features(clip), model(clip)[0]
    expected_label = int(logits.argmax()) if label is None else label
    assert found.label == expected_label
    assert found.probability == pytest.approx(float(logits.softmax(0)[expected_label]), rel=1e-5)
    places = torch.einsum("c,tchw->thw", model.classifier.weight[expected_label].detach(), maps)
    heat = F.interpolate(F.relu(places)[:, None], (64, 96), mode="bilinear")[:, 0]
    np.testing.assert_allclose(found.heat, heat / heat.max(), atol=1e-4)
    assert found.heat.max() == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_has_one_and_the_network_stays_as_it_was(clip, layer):
    model = network()
    before = model(clip).detach()
    found = activation_map(model, clip, layer=layer)
    assert found.heat.shape == (3, 64, 96)
    assert 0 <= found.heat.min() <= found.heat.max() == 1
    assert torch.equal(model(clip), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("variant", RESPONSES)
def test_the_modules_that_a_network_has_respond(clip, variant):
    found = temporal_responses(network(variant), clip)
    assert set(found) == RESPONSES[variant]
    for heat in found.values():
        assert heat.shape == (3, 64, 96)
        assert 0 <= heat.min() <= heat.max() <= 1


def test_the_short_term_response_is_the_size_of_its_features(clip):
    model = network()
    found = temporal_responses(model, clip)
    with torch.inference_mode():
        features = model.short_term(short_term_stem(clip, torch.float32)[1])
    for name, of_module in zip(("after the stem", "after stage 1"), features, strict=True):
        heat = F.interpolate(of_module.abs().mean(1)[:, None], (64, 96), mode="bilinear")[:, 0]
        np.testing.assert_allclose(found[f"S-TDM {name}"], heat / heat.max(), atol=1e-5)


def test_the_long_term_response_is_what_the_last_block_adds(clip):
    model = network()
    seen = {}
    for number in (2, 3, 4):
        block = getattr(model, f"stage{number}")[-1]
        block.long_term.register_forward_hook(
            lambda _, inputs, output, number=number: seen.update({number: output - inputs[0]})
        )
    found = temporal_responses(model, clip)
    for number, added in seen.items():
        heat = F.interpolate(added.abs().mean(1)[:, None], (64, 96), mode="bilinear")[:, 0]
        np.testing.assert_allclose(found[f"L-TDM stage {number}"], heat / heat.max(), atol=1e-5)


def test_what_moves_stands_out():
    """A patch that moves within the segments, on a background that does not."""
    torch.manual_seed(2)
    clip = torch.randint(256, (1, 1, 1, 64, 96, 3), dtype=torch.uint8).repeat(1, 3, 5, 1, 1, 1)
    for frame in range(5):
        clip[:, 1, frame, 20:44, 10 + 4 * frame : 34 + 4 * frame] = 255
    heat = temporal_responses(network("stdm"), clip)["S-TDM after the stem"]
    assert heat[1, 16:48, 8:56].mean() > 2 * heat[[0, 2]].mean()
    assert heat[1, 16:48, 8:56].mean() > 2 * heat[1, :, 64:].mean()
