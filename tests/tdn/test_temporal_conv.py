from __future__ import annotations

import pytest
import torch

from tdn.temporal_conv import TemporalConv


@pytest.mark.parametrize("channels", [8, 16, 20, 3])
def test_starts_as_a_shift(channels):
    conv, fold = TemporalConv(channels, 4), channels // 8
    x = torch.randn(8, channels, 3, 5)
    out = conv(x)
    for clip in (slice(0, 4), slice(4, 8)):
        before, after = x[clip], out[clip]
        assert after[:-1, :fold].equal(before[1:, :fold])
        assert after[1:, fold : 2 * fold].equal(before[:-1, fold : 2 * fold])
        assert after[:, 2 * fold :].equal(before[:, 2 * fold :])
        assert after[-1, :fold].count_nonzero() == 0
        assert after[0, fold : 2 * fold].count_nonzero() == 0


def test_learns():
    conv = TemporalConv(8, 4)
    conv(torch.randn(4, 8, 2, 2)).square().sum().backward()
    assert conv.weight.grad.count_nonzero() == conv.weight.numel()
