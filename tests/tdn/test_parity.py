"""The network computes what the released code computes from the same weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

import tdn
from tdn.checkpoint import export_upstream
from tests.tdn import upstream_recipe as recipe


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """ResNet-50 with the recipe's weights, read from a checkpoint like the released ones."""
    path = tmp_path_factory.mktemp("parity") / "released.pth.tar"
    torch.save({"epoch": 50, "arch": "resnet50", "state_dict": recipe.filled_state()}, path)
    model = tdn.create_model(
        "tdn_resnet50", num_segments=recipe.SEGMENTS, num_classes=recipe.CLASSES
    )
    tdn.load_checkpoint(model, path)
    return model.eval()


@pytest.fixture(scope="module")
def activations(network):
    """What 14 points of the network give for the case's clips in float64, by upstream's names."""
    found = {}
    double = network.double()
    points = {
        "stem_diff_conv1_5": double.short_term.norm,
        "stem_diff_layer1": double.short_term.stage,
        "stem_rgb_maxpool": double.stem,
        "after_fusion1": double.stage1,
        "layer1": double.stage1,
        "after_fusion2": double.stage2,
        "layer2_block0_mse": double.stage2[0].long_term,
        "layer2_block0_shift": double.stage2[0].temporal_conv,
        "layer2_block0": double.stage2[0],
        "layer2": double.stage2,
        "layer3": double.stage3,
        "layer4_block2_mse": double.stage4[2].long_term,
        "layer4": double.stage4,
    }

    def record(name):
        def hook(module, inputs, output):
            found[name] = inputs[0].clone() if name.startswith("after") else output.clone()

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in points.items()]
    with torch.no_grad():
        found["segment_logits"] = double.segment_logits(recipe.clips().double())
    for hook in hooks:
        hook.remove()
    network.float()
    found["stem_diff_conv1_5"] = F.relu(found["stem_diff_conv1_5"])
    found["pooled"] = found["layer4"].mean(dim=(2, 3), keepdim=True)
    return found


def test_logits_in_float32(network):
    with torch.no_grad():
        logits = network(recipe.clips())
    expected = recipe.expected_logits()
    assert (logits - expected["logits_f32"]).abs().max() < 1e-5
    assert (logits.double() - expected["logits_f64"]).abs().max() < 1e-5


def test_logits_in_float64(activations):
    expected = recipe.expected_logits()
    segment_logits = activations["segment_logits"]
    assert (segment_logits - expected["segment_logits_f64"]).abs().max() < 1e-11
    assert (segment_logits.mean(dim=1) - expected["logits_f64"]).abs().max() < 1e-11


@pytest.mark.parametrize("name", recipe.expected_activations())
def test_activations(activations, name):
    # Measured in float32: its rounding through up to 50 layers is all that may differ.
    expected, found = recipe.expected_activations()[name], activations[name]
    assert list(found.shape) == expected["shape"]
    values = torch.tensor(expected["values"], dtype=torch.float64)
    samples = found.contiguous().flatten()[expected["flat_idx"]]
    assert (samples - values).abs().max() < 1e-5 * expected["absmax"]
    assert found.mean().item() == pytest.approx(expected["mean"], rel=1e-6)
    assert found.std(correction=0).item() == pytest.approx(expected["std"], rel=1e-6)


def test_every_point_sees_another_value(activations):
    for (_, a), (_, b) in pairwise(activations.items()):
        assert a.shape != b.shape or not torch.equal(a, b)


def test_parameter_order_is_the_released_one(network):
    """So that an optimizer's state, kept by position, fits."""
    names = [key for key in recipe.inventory() if "conv1_temp" not in key]
    exported = [key for key in export_upstream(network) if "conv1_temp" not in key]
    assert exported == names
