from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tdn.kernels import backend
from tdn.kernels import branch_sum as forward_module
from tdn.kernels import branch_sum_backward as backward_module
from tdn.kernels.branch_sum import branch_sum, reference
from tdn.kernels.layout import memory_format
from tdn.kernels.moments import moments
from tdn.kernels.norm import Norm
from tdn.long_term import DirectionalBatchNorm2d
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, images, layouts

DTYPES = tuple(TOLERANCES)
HALF_EPS, FULL_EPS = 1e-5, 1e-3
NAMES = ("half_weight", "half_bias", "full_weight", "full_bias")


def maps(count, channels, height, width, dtype=torch.float32, layout=torch.contiguous_format):
    """Differences, and their convs at half and at full resolution."""
    sizes = (height, width), (height // 2, width // 2), (height, width)
    values = [images(2 * count, channels, *size, seed=i) for i, size in enumerate(sizes)]
    values = values[0], 2 * values[1] + 3, values[2] / 2 - 2
    return [v.to(DEVICE, dtype).contiguous(memory_format=layout).requires_grad_() for v in values]


def parameters(channels, dtype=torch.float32):
    """Weight and bias of half's norm, then of full's."""
    values = images(4, channels, 1, 1, seed=10).flatten(1)
    return [v.to(DEVICE, dtype).requires_grad_() for v in values]


def constants(*shape):
    """Running statistics of half, and of full."""
    mean = images(2, *shape, *(1,) * (3 - len(shape)), seed=20).view(2, *shape)
    mean = mean.to(DEVICE, torch.float32)
    return [(v, v.exp()) for v in mean]


def batch(half, full):
    return [rows[:2].unbind() for rows in moments([half, full], 2)]


def call(function, tensors, rows, weights, training, with_moments=True):
    half = Norm(*rows[0], *weights[:2], HALF_EPS)
    full = Norm(*rows[1], *weights[2:], FULL_EPS)
    return function(*tensors, half, full, training, with_moments)


def by_kernels(tensors, weights, rows=None, grad=None):
    """Results, and the gradients of maps and weights; batch statistics where none are given."""
    training = rows is None
    grad = images(*tensors[0].shape, seed=30).to(tensors[0]) if grad is None else grad
    with backend.using("triton"), poisoned():
        rows = batch(*tensors[1:]) if training else rows
        results = call(branch_sum, tensors, rows, weights, training)
        return results, torch.autograd.grad(results[0], (*tensors, *weights), grad), grad


def check(tensors, weights, rows=None, grad=None):
    dtype = tensors[0].dtype
    (s, mean, covariance), gradients, grad = by_kernels(tensors, weights, rows, grad)
    exact = [v.detach().double().requires_grad_() for v in (*tensors, *weights)]
    training = rows is None
    rows = batch(*(v.detach() for v in exact[1:3])) if training else rows
    rows = [[v.double() for v in row] for row in rows]
    expected = call(reference, exact[:3], rows, exact[3:], training)
    assert s.dtype == dtype
    assert s.is_contiguous(memory_format=memory_format(tensors[0]))
    assert_close(s, expected[0], dtype)
    assert_close(mean, moments_of(s)[0], torch.float32)
    if dtype == torch.float32:
        assert_close(covariance, moments_of(s)[1], torch.float32)
    else:  # tensor cores take 10 bits, but their errors are to average out
        assert_close(covariance, moments_of(s)[1], torch.float16, scale=0.3)
    exact_gradients = torch.autograd.grad(expected[0], exact, grad.double())
    for found, value, source in zip(gradients, exact_gradients, (*tensors, *weights), strict=True):
        assert found.dtype == source.dtype
        assert_close(found, value, dtype)


def moments_of(s):
    """Of s as it is stored, in float64."""
    values = s.detach().double().unflatten(0, (2, -1)).transpose(1, 2).flatten(2)
    mean = values.mean(-1)
    return mean, torch.stack([torch.cov(v, correction=0).view(len(v), len(v)) for v in values])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "height", "width"), [(8, 7, 9), (5, 14, 15), (32, 4, 4)])
def test_training(channels, height, width, dtype, layout):
    check(maps(3, channels, height, width, dtype, layout), parameters(channels))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 8), (1, 8), (8,)])
def test_running_statistics(shape, dtype, layout):
    """A row a direction, or the same for both."""
    check(maps(2, 8, 7, 6, dtype, layout), parameters(8), constants(*shape))


@settings(max_examples=8, derandomize=True)  # now and then a sum comes near zero
@given(st.integers(1, 3), st.integers(1, 20), st.integers(2, 9), st.integers(2, 9), layouts)
def test_any_size(count, channels, height, width, layout):
    """Of few values, gradients through their statistics are small differences: not these."""
    tensors = maps(count, channels, height, width, layout=layout)
    check(tensors, parameters(channels), constants(2, channels))


@pytest.mark.parametrize(("channels", "side"), [(1, 57), (128, 7)])
def test_extents(channels, side):
    check(maps(2, channels, side, side, torch.float16, LAYOUTS[1]), parameters(channels))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_programs_with_several_tiles(layout, monkeypatch):
    for module in (forward_module, backward_module):
        monkeypatch.setattr(module, "ELEMENTS", 16)
        monkeypatch.setattr(module, "PROGRAMS", 3)
    monkeypatch.setattr(forward_module, "MOMENTS_ELEMENTS", 64)
    check(maps(4, 6, 9, 11, layout=layout), parameters(6))


def test_rows_are_repeated_as_in_torch():
    """By float32 ratios: no size that an image may have is rounded to another row."""
    sizes = [2, 3, 7, 15, 57, 101, 255, 333, 511, 777, 1023]
    for size in sizes:
        d = torch.zeros(2, 1, size, 2, device=DEVICE)
        half = torch.arange(size // 2, device=DEVICE).float().view(1, 1, -1, 1).expand(2, 1, -1, 1)
        zero, one = torch.zeros(1, device=DEVICE), torch.ones(1, device=DEVICE)
        with backend.using("triton"):
            same, nothing = Norm(zero, one, one, zero, 0.0), Norm(zero, one, zero, zero, 0.0)
            s, *_ = branch_sum(d, half, d, same, nothing, False, False)
        assert s.equal(F.interpolate(half, size=(size, 2), mode="nearest"))


def test_weights_of_half_precision():
    check(maps(2, 4, 7, 6, torch.bfloat16), parameters(4, torch.bfloat16))


def test_a_gradient_without_memory_of_its_own():
    """``sum().backward()`` hands an expanded scalar down."""
    tensors = maps(2, 4, 5, 6, layout=LAYOUTS[1])
    check(tensors, parameters(4), constants(4), torch.ones((), device=DEVICE).expand(4, 4, 5, 6))


def test_the_gradient_of_the_differences_is_the_one_that_comes_in():
    tensors, weights = maps(2, 4, 5, 6), parameters(4)
    grad = images(4, 4, 5, 6).to(tensors[0])
    _, gradients, _ = by_kernels(tensors, weights, grad=grad)
    assert gradients[0].data_ptr() == grad.data_ptr()


def test_weights_that_are_not_trained_get_no_gradient():
    tensors, weights = maps(1, 4, 5, 6), [v.detach() for v in parameters(4)]
    with backend.using("triton"):
        s, mean, covariance = call(branch_sum, tensors, constants(4), weights, False)
        s.sum().backward()
    assert not mean.requires_grad
    assert not covariance.requires_grad
    assert all(v.grad is not None for v in tensors)
    assert all(v.grad is None for v in weights)


def test_moments_are_left_out():
    tensors, weights = maps(1, 4, 5, 6), parameters(4)
    with backend.using("triton"):
        found = call(branch_sum, tensors, constants(4), weights, False, with_moments=False)
        assert found[0].equal(call(branch_sum, tensors, constants(4), weights, False)[0])
    assert found[1].shape == found[2].shape == (0,)


def test_maps_without_a_layout_of_their_own():
    d, half, full = maps(2, 3, 4, 6)
    d = d.detach().repeat(1, 1, 1, 2)[..., ::2].requires_grad_()
    half = half.detach().contiguous(memory_format=LAYOUTS[1]).requires_grad_()
    check([d, half, full], parameters(3))


@pytest.mark.parametrize("training", [True, False])
def test_equals_the_modules(training):
    norms = DirectionalBatchNorm2d(4), DirectionalBatchNorm2d(4)
    for norm in norms:
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.uniform_(norm.bias, -1, 1)
        norm.to(DEVICE).train(training)
    half_norm, full_norm = norms
    d, half, full = maps(2, 4, 7, 6)
    with backend.using("triton"):
        rows = batch(half, full) if training else [(n.running_mean, n.running_var) for n in norms]
        given = [Norm(*row, n.weight, n.bias, n.eps) for row, n in zip(rows, norms, strict=True)]
        s, *_ = branch_sum(d, half, full, *given, training, False)
    half = F.interpolate(torch.cat(half_norm(half)), size=d.shape[2:], mode="nearest")
    torch.testing.assert_close(s, d + half + torch.cat(full_norm(full)))


@pytest.mark.filterwarnings("ignore:overflow encountered")  # outside of the maps: never stored
@pytest.mark.parametrize("value", [0.0, -3.3, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values(value, dtype):
    """s is constant, and has no covariance, however large it is."""
    tensors = [torch.full_like(v, value).requires_grad_() for v in maps(2, 3, 5, 4, dtype)]
    (s, mean, covariance), gradients, _ = by_kernels(tensors, parameters(3))
    assert mean.equal(s[::2, :, 0, 0].float())
    assert covariance.eq(0).all()
    assert all(torch.isfinite(v).all() for v in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_values(dtype):
    scaled = [1e4 * v.detach().clamp(-5, 5) for v in maps(2, 3, 5, 4, dtype)]
    check([v.requires_grad_() for v in scaled], parameters(3))


def test_a_mean_far_larger_than_the_deviation():
    d, half, full = maps(4, 3, 9, 8)
    d = (d + 1e4).detach().requires_grad_()
    (s, mean, covariance), _, _ = by_kernels([d, half, full], parameters(3))
    assert_close(mean, moments_of(s)[0], torch.float32)
    assert_close(covariance, moments_of(s)[1], torch.float32, scale=2)


def test_bits_are_the_same_in_every_run():
    tensors, weights = maps(2, 8, 7, 9, torch.bfloat16), parameters(8)
    first, second = by_kernels(tensors, weights), by_kernels(tensors, weights)
    for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert a.equal(b)


def test_the_operators_are_registered_well():
    tensors, weights = maps(1, 3, 4, 5, layout=LAYOUTS[1]), parameters(3)
    half, full = constants(2, 3)
    arguments = [*tensors, *half, *weights[:2], HALF_EPS, *full, *weights[2:], FULL_EPS]
    arguments += [True, True]
    torch.library.opcheck(torch.ops.tdn.branch_sum.default, tuple(arguments))
    arguments = [v.detach() if isinstance(v, torch.Tensor) else v for v in arguments]
    operator = torch.ops.tdn.branch_sum_backward.default
    torch.library.opcheck(operator, tuple(arguments[:-1]))


def test_compiles_under_autocast():
    """The kernels take what they get: maps of half precision, weights of full precision."""
    tensors, weights = maps(1, 4, 5, 6, torch.bfloat16), parameters(4)

    def run(*values):
        rows = batch(*values[1:3])
        s, mean, covariance = call(branch_sum, values[:3], rows, values[3:], True)
        return s.float().square().sum() + mean.sum() + covariance.sum()

    found = []
    with backend.using("triton"):
        for function in (run, torch.compile(run, fullgraph=True, backend="aot_eager")):
            with torch.autocast(tensors[0].device.type, torch.bfloat16):
                loss = function(*tensors, *weights)
            found.append((loss, *torch.autograd.grad(loss, (*tensors, *weights))))
    torch.testing.assert_close(*found)
