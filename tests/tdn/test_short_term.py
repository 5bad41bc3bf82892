from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tdn.short_term import ShortTermTDM, inflated


def test_two_depths_of_features():
    torch.manual_seed(0)
    module = ShortTermTDM(8, nn.Conv2d(8, 20, 1)).eval()
    differences = torch.randn(6, 12, 16, 24)
    first, second = module(differences)
    stem = F.relu(module.norm(module.conv(differences)))
    torch.testing.assert_close(first, F.max_pool2d(stem, 3, stride=2, padding=1))
    torch.testing.assert_close(second, module.stage(first))
    assert first.shape == (6, 8, 4, 6)
    assert second.shape == (6, 20, 4, 6)


def test_the_stem_conv_has_no_bias():
    assert ShortTermTDM(8, nn.Identity()).conv.bias is None


def test_inflation_repeats_the_mean_colour():
    weight = torch.randn(8, 3, 7, 7)
    result = inflated(weight)
    assert result.shape == (8, 12, 7, 7)
    for channel in range(12):
        torch.testing.assert_close(result[:, channel], weight.sum(dim=1) / 3)
