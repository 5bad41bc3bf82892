from __future__ import annotations

import pytest
import torch
from hypothesis import given

from tdn.kernels.long_term_difference import long_term_difference
from tests.kernels.images import LAYOUTS, SIZES, counts, images, layouts, segment_counts, sides


def by_loops(f, g, t):
    """Image by image."""
    to_next, to_previous = 0 * f, 0 * g
    for image in range(len(f)):
        segment = image % t
        if segment < t - 1:
            to_next[image] = g[image + 1] - f[image]
        if segment > 0:
            to_previous[image] = g[image - 1] - f[image]
    return torch.cat((to_next, to_previous))


@given(counts, segment_counts, counts, sides, sides, layouts)
def test_agrees_with_a_loop_over_segments(n, t, channels, height, width, layout):
    f, g = (images(n * t, channels, height, width, seed=s, layout=layout) for s in (0, 1))
    result = long_term_difference(f, g, t)
    assert result.equal(by_loops(f, g, t))
    assert result.is_contiguous(memory_format=layout)


@given(counts, segment_counts, counts, sides, sides, layouts)
def test_gradients_agree_with_those_of_the_loop(n, t, channels, height, width, layout):
    shape = (n * t, channels, height, width)
    f, g = (images(*shape, seed=s, layout=layout).requires_grad_() for s in (0, 1))
    grad = images(2 * n * t, *shape[1:], seed=2, layout=layout)
    found = torch.autograd.grad(long_term_difference(f, g, t), (f, g), grad)
    expected = torch.autograd.grad(by_loops(f, g, t), (f, g), grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
        assert a.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_gradcheck(t):
    f, g = (images(2 * t, 2, 3, 2, seed=s).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(lambda f, g: long_term_difference(f, g, t), (f, g))


@pytest.mark.parametrize("side", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_layout_are_kept(side, layout, dtype):
    f, g = (images(8, 4, side, side, seed=s, dtype=dtype, layout=layout) for s in (0, 1))
    result = long_term_difference(f, g, 4)
    assert result.shape == (16, 4, side, side)
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=layout)
