from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tdn import conv3x3
from tdn.conv3x3 import Conv3x3

LAYOUTS = (torch.channels_last, torch.contiguous_format)


@pytest.fixture(params=[0, 1 << 20], ids=["many weights", "few weights"])
def many(request, monkeypatch):
    monkeypatch.setattr(conv3x3, "MANY", request.param)
    return request.param == 0


def twins(layout, stride=1):
    """Ours and torch's, of the same weights."""
    torch.manual_seed(0)
    ours = Conv3x3(4, 6, stride)
    plain = nn.Conv2d(4, 6, 3, stride=stride, padding=1)
    plain.load_state_dict(ours.state_dict())
    return ours.to(memory_format=layout), plain


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("of_weights", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_it_is_torchs_conv_and_hands_on_the_layout(many, layout, of_weights, stride):
    ours, plain = twins(of_weights, stride)
    torch.manual_seed(1)
    x = torch.randn(2, 4, 6, 5).contiguous(memory_format=layout)
    results = []
    for module in (ours, plain):
        features = x.clone().requires_grad_()
        out = module(features)
        sought = (features, module.weight, module.bias)
        results.append((out, *torch.autograd.grad(out.square().sum(), sought)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    if of_weights == layout or many:
        assert results[0][0].is_contiguous(memory_format=layout)
        assert results[0][1].is_contiguous(memory_format=layout)


def test_many_weights_stay_contiguous_on_a_cpu(many):
    ours, _ = twins(torch.channels_last)
    for module in (ours, copy.deepcopy(ours), ours.double()):
        assert module.weight.is_contiguous() == many


def test_the_last_stage_of_a_resnet_has_many():
    assert 256 * 256 * 9 < conv3x3.MANY < 512 * 512 * 9
