from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given

from tdn.kernels.excitation import excitation
from tests.kernels.images import LAYOUTS, SIZES, counts, images, layouts, sides


def by_loops(x, y_next, y_previous):
    """Value by value."""
    out = torch.empty_like(x)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in x.shape)).tolist():
        gates = [1 / (1 + math.exp(-y[tuple(index)])) - 0.5 for y in (y_next, y_previous)]
        value = x[tuple(index)]
        out[tuple(index)] = value + value * sum(gates) / 2
    return out


def as_published(x, y_next, y_previous):
    gate = 0.5 * (torch.sigmoid(y_next) - 0.5) + 0.5 * (torch.sigmoid(y_previous) - 0.5)
    return x + x * gate


def test_agrees_with_a_loop_over_values():
    inputs = [images(2, 3, 3, 4, seed=s) for s in range(3)]
    torch.testing.assert_close(excitation(*inputs), by_loops(*inputs), rtol=1e-14, atol=1e-14)


@given(counts, counts, sides, sides, layouts)
def test_agrees_with_the_published_formula_and_its_gradients(n, channels, height, width, layout):
    shape = (n, channels, height, width)
    inputs = [images(*shape, seed=s, layout=layout).requires_grad_() for s in range(3)]
    grad = images(*shape, seed=3, layout=layout)
    found, expected = excitation(*inputs), as_published(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    pairs = zip(
        torch.autograd.grad(found, inputs, grad),
        torch.autograd.grad(expected, inputs, grad),
        strict=True,
    )
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
        assert a.is_contiguous(memory_format=layout)


def test_gradcheck():
    inputs = [images(2, 2, 3, 2, seed=s).requires_grad_() for s in range(3)]
    assert torch.autograd.gradcheck(excitation, inputs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", SIZES)
def test_closed_and_open_gates(side, layout):
    x = images(2, 3, side, side, dtype=torch.float32, layout=layout)
    full = torch.full_like(x, 50.0)
    assert excitation(x, torch.zeros_like(x), torch.zeros_like(x)).equal(x)
    assert excitation(x, full, -full).equal(x)
    torch.testing.assert_close(excitation(x, full, full), 1.5 * x)
    torch.testing.assert_close(excitation(x, -full, -full), 0.5 * x)
    assert excitation(x, full, full).is_contiguous(memory_format=layout)
