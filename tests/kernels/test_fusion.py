from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn.kernels.fusion import fusion
from tests.kernels.images import LAYOUTS, SIZES, counts, images, layouts, sides


def by_loops(x, d, a, b):
    """Pixel by pixel."""
    out = torch.empty_like(x)
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            source = d[:, :, i * d.shape[2] // height, j * d.shape[3] // width]
            out[:, :, i, j] = a * x[:, :, i, j] + b * source
    return out


@given(counts, counts, sides, sides, sides, sides, layouts, st.sampled_from([0.5, 0.75]))
def test_agrees_with_a_loop_over_pixels(n, channels, height, width, h, w, layout, a):
    x = images(n, channels, height, width, layout=layout)
    d = images(n, channels, h, w, seed=1, layout=layout)
    result = fusion(x, d, a, 1 - a)
    torch.testing.assert_close(result, by_loops(x, d, a, 1 - a))
    assert result.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_resolution(side, layout):
    x = images(2, 2, side, side, layout=layout)
    d = images(2, 2, (side + 1) // 2, (side + 1) // 2, seed=1, layout=layout)
    result = fusion(x, d, 0.75, 0.25)
    torch.testing.assert_close(result, by_loops(x, d, 0.75, 0.25))
    assert result.is_contiguous(memory_format=layout)


def test_gradcheck():
    x = images(2, 2, 5, 4).requires_grad_()
    d = images(2, 2, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, d: fusion(x, d, 0.75, 0.25), (x, d))
