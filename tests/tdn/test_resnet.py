from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tdn.long_term import LongTermTDM
from tdn.resnet import BasicBlock, Bottleneck, Stem, TemporalModules, make_stage
from tdn.temporal_conv import TemporalConv

PLAIN = TemporalModules(num_segments=4)
FULL = TemporalModules(num_segments=4, long_term=True, temporal_conv=True)


@pytest.mark.parametrize("side", [32, 33, 47])
def test_stem_gives_what_relu_before_the_pool_gives(side):
    torch.manual_seed(0)
    stem = Stem(8).double()
    x = torch.randn(3, 3, side, side, dtype=torch.float64, requires_grad=True)
    parameters = list(stem.parameters())
    found = stem(x)
    expected = F.max_pool2d(F.relu(stem.norm(stem.conv(x))), 3, stride=2, padding=1)
    assert found.equal(expected)
    assert found.shape[2] == -(-side // 4)
    grad = torch.randn_like(found)
    gradients = (torch.autograd.grad(out, (x, *parameters), grad) for out in (found, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_are_residual(block, stride):
    """With a last batch norm of zero a block is its shortcut."""
    torch.manual_seed(0)
    module = block(16, 32, stride, FULL).eval()
    last = module.norm2 if block is BasicBlock else module.norm3
    torch.nn.init.zeros_(last.weight)
    x = torch.randn(8, 16, 7, 9)
    out = module(x)
    assert out.shape == (8, 32 * block.expansion, -(-7 // stride), -(-9 // stride))
    torch.testing.assert_close(out, F.relu(module.shortcut(x)))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_temporal_modules_see_the_first_conv_s_output(block):
    module = block(16, 32, 2, FULL)
    seen = {}

    def record(name):
        return lambda _, inputs: seen.update({name: inputs[0]})

    for name in ("long_term", "temporal_conv"):
        getattr(module, name).register_forward_pre_hook(record(name))
    module(torch.randn(4, 16, 8, 8))
    side = 4 if block is BasicBlock else 8  # a bottleneck's stride comes after them
    assert seen["long_term"].shape == seen["temporal_conv"].shape == (4, 32, side, side)
    assert (seen["long_term"] >= 0).all()  # after the ReLU


def test_input_is_left_as_it_was():
    for block in (BasicBlock, Bottleneck):
        x = torch.randn(4, 4 * block.expansion, 8, 8)
        before = x.clone()
        block(4 * block.expansion, 4, 1, FULL)(x)
        assert x.equal(before)


def test_a_stage_strides_once_and_carries_the_modules_in_every_block():
    stage = make_stage(Bottleneck, 16, 8, 3, 2, FULL)
    assert stage(torch.randn(4, 16, 12, 10)).shape == (4, 32, 6, 5)
    assert all(isinstance(block.long_term, LongTermTDM) for block in stage)
    assert all(isinstance(block.temporal_conv, TemporalConv) for block in stage)


def test_a_plain_stage_has_resnet_weights_only():
    names = {
        name.split(".")[1]
        for name, _ in make_stage(BasicBlock, 8, 8, 2, 1, PLAIN).named_parameters()
    }
    assert names == {"conv1", "norm1", "conv2", "norm2"}


def test_convs_of_the_resnet_have_biases():
    stage = make_stage(Bottleneck, 16, 8, 2, 2, PLAIN)
    convs = [module for module in stage.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convs) == 7
    assert all(conv.bias is not None for conv in convs)
