from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.harness.literal_tdn import Excitation
from tdn.long_term import DirectionalBatchNorm2d, LongTermTDM

SHARED = ("expand_norm", "half_norm", "full_norm")


def features(t, channels, height, width, clips=2):
    generator = torch.Generator().manual_seed(1)
    shape = (clips * t, channels, height, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def pair(channels, t):
    """An L-TDM and its literal twin with the same weights, random ones in the norms too."""
    torch.manual_seed(0)
    ours, literal = LongTermTDM(channels, t).double(), Excitation(channels, t).double()
    names = {
        "reduce": "conv1",
        "reduce_norm": "bn1",
        "smooth": "conv2",
        "expand": "conv3",
        "expand_norm": "bn3",
        "half_conv": "conv3_smallscale2",
        "half_norm": "bn3_smallscale2",
        "full_conv": "conv3_smallscale4",
        "full_norm": "bn3_smallscale4",
    }
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn_like(parameter))
    for name, upstream in names.items():
        getattr(literal, upstream).load_state_dict(getattr(ours, name).state_dict())
    return ours, literal, names


@pytest.mark.parametrize("t", [1, 2, 3, 8])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (2, 3), (14, 15)])
@pytest.mark.parametrize("channels", [8, 16, 40])
def test_agrees_with_two_calls(t, height, width, channels):
    ours, literal, names = pair(channels, t)
    x = features(t, channels, height, width).requires_grad_()
    twins = dict(literal.named_parameters())
    parameters = dict(ours.named_parameters())
    for training in (True, False):
        found, expected = ours.train(training)(x), literal.train(training)(x)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
        grad = torch.randn_like(x)
        gradients = torch.autograd.grad(found, (x, *parameters.values()), grad)
        by_name = dict(zip(("x", *parameters), gradients, strict=True))
        gradients = torch.autograd.grad(expected, (x, *twins.values()), grad)
        twins_by_name = dict(zip(("x", *twins), gradients, strict=True))
        for name, value in by_name.items():
            module, _, tensor = name.rpartition(".")
            twin = f"{names[module]}.{tensor}" if module else name
            torch.testing.assert_close(value, twins_by_name[twin], rtol=1e-7, atol=1e-7)


def test_running_statistics_take_in_the_next_segment_first():
    ours, literal, names = pair(32, 4)
    x = features(4, 32, 6, 6)
    ours(x), literal(x)
    for name, upstream in names.items():
        if "norm" not in name:
            continue
        norm, twin = getattr(ours, name), getattr(literal, upstream)
        assert norm.num_batches_tracked == (2 if name in SHARED else 1)
        assert norm.num_batches_tracked == twin.num_batches_tracked
        torch.testing.assert_close(norm.running_mean, twin.running_mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(norm.running_var, twin.running_var, rtol=1e-12, atol=1e-14)


def test_directions_have_their_own_statistics():
    norm, plain = DirectionalBatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    low, high = features(4, 3, 5, 5), 3 * features(2, 3, 5, 5, clips=4) + 7
    found = norm(torch.cat((low, high)))
    expected = plain(low), plain(high)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(norm.state_dict(), plain.state_dict())
    swapped = DirectionalBatchNorm2d(3).double()
    swapped(torch.cat((high, low)))
    assert not torch.allclose(swapped.running_mean, norm.running_mean)


def test_evaluation_leaves_the_statistics_alone():
    module = LongTermTDM(16, 4).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module(torch.randn(4, 16, 4, 4))
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_narrow_features_keep_a_channel():
    assert LongTermTDM(8, 4).reduce.out_channels == 1
    assert LongTermTDM(32, 4).reduce.out_channels == 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout_is_kept(layout):
    module = LongTermTDM(32, 4)
    x = torch.randn(8, 32, 7, 9).contiguous(memory_format=layout)
    assert module(x).is_contiguous(memory_format=layout)
