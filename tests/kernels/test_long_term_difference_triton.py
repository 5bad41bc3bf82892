from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tdn.kernels import backend
from tdn.kernels import long_term_difference_backward as backward_module
from tdn.kernels.layout import memory_format
from tdn.kernels.long_term_difference import differences_of_maps, long_term_difference, reference
from tdn.kernels.moments import moments
from tdn.kernels.norm import Norm
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, images, layouts

DTYPES = tuple(TOLERANCES)
EPS = 1e-5


def maps(*shape, dtype=torch.float32, layout=torch.contiguous_format, seed=0):
    values = 2 * images(*shape, seed=seed) + 1
    return values.to(DEVICE, dtype).contiguous(memory_format=layout).requires_grad_()


def parameters(channels, dtype=torch.float32, seed=10):
    """Weight and bias of the batch norm, and the smoothing conv's weight."""
    shapes = (channels,), (channels,), (channels, 1, 3, 3)
    return [
        images(*shape, *(1,) * (4 - len(shape)), seed=seed + i)
        .view(shape)
        .to(DEVICE, dtype)
        .requires_grad_()
        for i, shape in enumerate(shapes)
    ]


def constants(channels):
    """Running statistics."""
    mean = images(1, channels, 1, 1, seed=20).flatten()
    return mean.to(DEVICE, torch.float32), mean.exp().to(DEVICE, torch.float32)


def call(function, z, statistics, weights, t, batch):
    weight, bias, smooth = weights
    return function(z, Norm(*statistics, weight, bias, EPS), smooth, t, batch)


def random_like(tensors, dtype, seed=30):
    return [
        images(*v.shape, seed=seed + i).to(DEVICE, dtype).contiguous(memory_format=layout)
        for i, v in enumerate(tensors)
        for layout in (LAYOUTS[i % 2],)
    ]


def by_kernels(z, weights, t, statistics=None, grads=None):
    """Results, and the gradients of maps and weights; batch statistics where none are given."""
    batch = statistics is None
    with backend.using("triton"), poisoned():
        if batch:
            statistics = moments([z], 1)[0, :2, 0]
        results = call(differences_of_maps, z, statistics, weights, t, batch)
        grads = grads or random_like(results, z.dtype)
        return results, torch.autograd.grad(results, (z, *weights), grads), grads


def check(z, weights, t, statistics=None, grads=None):
    results, gradients, grads = by_kernels(z, weights, t, statistics, grads)
    exact = [v.detach().double().requires_grad_() for v in (z, *weights)]
    rows = (None, None) if statistics is None else [v.double() for v in statistics]
    expected = call(reference, exact[0], rows, exact[1:], t, statistics is None)
    for found, value in zip(results, expected, strict=True):
        assert found.dtype == z.dtype
        assert_close(found, value, z.dtype)
    assert results[0].is_contiguous(memory_format=memory_format(z))
    exact = torch.autograd.grad(expected, exact, [g.double() for g in grads])
    for found, value, source in zip(gradients, exact, (z, *weights), strict=True):
        assert found.dtype == source.dtype
        assert_close(found, value, z.dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "height", "width", "t"), [(8, 7, 9, 3), (6, 14, 15, 2), (32, 4, 5, 4)]
)
def test_training(channels, height, width, t, dtype, layout):
    check(maps(2 * t, channels, height, width, dtype=dtype, layout=layout), parameters(channels), t)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_running_statistics(dtype, layout):
    z = maps(6, 8, 7, 6, dtype=dtype, layout=layout)
    check(z, parameters(8), 3, constants(8))


@settings(max_examples=8, derandomize=True)  # now and then a sum comes near zero
@given(
    st.integers(1, 2),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(2, 9),
    st.integers(2, 9),
    layouts,
)
def test_any_size(n, t, channels, height, width, layout):
    """Of few values, gradients through their statistics are small differences: not these."""
    z = maps(n * t, channels, height, width, layout=layout)
    check(z, parameters(channels), t, constants(channels))


@pytest.mark.parametrize(("channels", "side", "t"), [(1, 57, 2), (4, 2, 64), (128, 7, 2)])
def test_extents(channels, side, t):
    z = maps(t, channels, side, side, dtype=torch.float16, layout=torch.channels_last)
    check(z, parameters(channels), t)


def test_a_single_segment_differs_from_nothing():
    z = maps(3, 4, 5, 6)
    results, gradients, _ = by_kernels(z, parameters(4), 1)
    for value in (*results, *gradients):
        assert value.eq(0).all()


def test_programs_with_several_tiles(monkeypatch):
    monkeypatch.setattr(backward_module, "ELEMENTS", 16)
    monkeypatch.setattr(backward_module, "PROGRAMS", 3)
    check(maps(4, 3, 9, 11, layout=torch.channels_last), parameters(3), 2)


def test_weights_of_half_precision():
    z = maps(6, 4, 7, 6, dtype=torch.float16)
    check(z, parameters(4, torch.float16), 3)


def test_gradients_without_memory_of_their_own():
    """``sum().backward()`` hands an expanded scalar down; a result without use, nothing."""
    z, weights = maps(6, 4, 5, 6, layout=torch.channels_last), parameters(4)
    with backend.using("triton"), poisoned():
        d, pooled = call(differences_of_maps, z, constants(4), weights, 3, False)
        found = torch.autograd.grad(d.sum() + 0 * pooled.sum(), (z, *weights), retain_graph=True)
        alone = torch.autograd.grad(d.sum(), (z, *weights))
    exact = [v.detach().double().requires_grad_() for v in (z, *weights)]
    rows = [v.double() for v in constants(4)]
    d, _ = call(reference, exact[0], rows, exact[1:], 3, False)
    for a, b, value in zip(found, alone, torch.autograd.grad(d.sum(), exact), strict=True):
        assert_close(a, value, torch.float32)
        assert b.equal(a)


def test_weights_that_are_not_trained_get_no_gradient():
    z, weights = maps(4, 4, 5, 6), [v.detach() for v in parameters(4)]
    with backend.using("triton"):
        d, pooled = call(differences_of_maps, z, constants(4), weights, 2, False)
        (d.sum() + pooled.sum()).backward()
    assert z.grad is not None
    assert all(v.grad is None for v in weights)


def test_maps_without_a_layout_of_their_own():
    wide = images(4, 3, 5, 12).to(DEVICE, torch.float32)
    check(wide[..., ::2].detach().requires_grad_(), parameters(3), 2)


@pytest.mark.parametrize("training", [True, False])
def test_equals_the_modules(training):
    """Batch norm, depthwise conv, difference and pooling, as a network has them."""
    norm, conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
    with torch.no_grad():
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    norm, conv = norm.to(DEVICE).train(training), conv.to(DEVICE)
    z = maps(6, 4, 7, 6)
    with backend.using("triton"):
        rows = moments([z], 1)[0, :2, 0] if training else (norm.running_mean, norm.running_var)
        weights = (norm.weight, norm.bias, conv.weight)
        d, pooled = call(differences_of_maps, z, rows, weights, 3, training)
    f = norm(z)
    expected = long_term_difference(f, conv(f), 3)
    torch.testing.assert_close(d, expected)
    torch.testing.assert_close(pooled, F.avg_pool2d(expected, 2))


@pytest.mark.parametrize("value", [0.0, -3.3, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values(value, dtype):
    """Their variance is 0: features are the bias, and differ by what lies beyond the border."""
    z = torch.full((4, 3, 5, 4), value, dtype=dtype, device=DEVICE, requires_grad=True)
    results, gradients, _ = by_kernels(z, parameters(3), 2)
    expected = call(
        reference, z.double(), (None, None), [v.double() for v in parameters(3)], 2, True
    )
    for found, exact in zip(results, expected, strict=True):
        assert_close(found, exact, dtype)
    assert all(torch.isfinite(v).all() for v in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_values(dtype):
    z = (1e4 * maps(4, 3, 5, 4)).clamp(-6e4, 6e4).to(dtype).detach().requires_grad_()
    check(z, parameters(3), 2)


def test_bits_are_the_same_in_every_run():
    z, weights = maps(4, 8, 7, 9, dtype=torch.bfloat16), parameters(8)
    first, second = by_kernels(z, weights, 2), by_kernels(z, weights, 2)
    for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert a.equal(b)


def test_the_operators_are_registered_well():
    operator = torch.ops.tdn.differences_of_maps.default
    weight, bias, smooth = parameters(3)
    z = maps(4, 3, 4, 5, layout=LAYOUTS[1])
    arguments = (z, *constants(3), weight, bias, EPS, smooth, 2, True)
    torch.library.opcheck(operator, arguments)
    results = [v.detach() for v in operator(*arguments)]
    operator = torch.ops.tdn.differences_of_maps_backward.default
    arguments = [v.detach() if isinstance(v, torch.Tensor) else v for v in arguments]
    torch.library.opcheck(operator, (*results, *arguments))


def test_compiles_under_autocast():
    """The kernels take what they get: maps of half precision, weights of full precision."""

    statistics = constants(4)

    def run(z, *weights):
        d, pooled = call(differences_of_maps, z, statistics, weights, 2, False)
        return d.float().square().sum() + pooled.float().square().sum()

    z, weights = maps(4, 4, 5, 6, dtype=torch.bfloat16), parameters(4)
    found = []
    with backend.using("triton"):
        for function in (run, torch.compile(run, fullgraph=True, backend="aot_eager")):
            with torch.autocast(z.device.type, torch.bfloat16):
                loss = function(z, *weights)
            found.append((loss, *torch.autograd.grad(loss, (z, *weights))))
    torch.testing.assert_close(*found)
