from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.kernels import backend
from tdn.kernels import temporal_conv as module
from tdn.kernels.temporal_conv import temporal_conv
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, counts, images, layouts, segment_counts, sides


def operands(n, t, channels, height, width, dtype=torch.float32, layout=torch.channels_last):
    x = images(n * t, channels, height, width, dtype=dtype, layout=layout)
    weight = images(channels, 1, 3, 1, seed=1, dtype=torch.float32).squeeze(-1)
    return x.to(DEVICE), weight.to(DEVICE)


def run(x, weight, t, grad):
    """The result and both gradients."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    out = temporal_conv(x, weight, t)
    return out, *torch.autograd.grad(out, (x, weight), grad)


def check(x, weight, t, grad=None):
    if grad is None:
        grad = images(*x.shape, seed=2, dtype=x.dtype).to(x.device)
    with backend.using("triton"), poisoned():
        found = run(x, weight, t, grad)
    with backend.using("reference"):
        expected = run(x.double(), weight.double(), t, grad.double())
    for result, exact, kind in zip(found, expected, (x, x, weight), strict=True):
        assert result.dtype == kind.dtype
        assert_close(result, exact, x.dtype)
    return found


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("n", "t", "channels", "height", "width"),
    [(2, 8, 64, 7, 7), (1, 3, 24, 15, 57), (3, 1, 5, 1, 9), (1, 16, 136, 3, 2), (1, 64, 3, 2, 2)],
)
def test_agrees_with_float64(n, t, channels, height, width, layout, dtype):
    x, weight = operands(n, t, channels, height, width, dtype, layout)
    out, dx, _ = check(x, weight, t)
    for result in (out, dx):
        assert result.is_contiguous(memory_format=layout)


@settings(max_examples=20)
@given(counts, segment_counts, st.integers(1, 20), sides, sides, layouts)
def test_any_sizes(n, t, channels, height, width, layout):
    check(*operands(n, t, channels, height, width, layout=layout), t)


def test_a_program_takes_several_blocks(monkeypatch):
    """And the last one fewer than the others."""
    monkeypatch.setattr(module, "PROGRAMS", 2)
    monkeypatch.setattr(module, "tile_sides", lambda *_: (16, 16))
    x, weight = operands(3, 2, 20, 5, 7)
    with backend.using("triton"), backend.recorded() as launches:
        run(x, weight, 2, torch.ones_like(x))
    assert launches[1].constants["STEPS"] == 16
    check(x, weight, 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("weight_dtype", TOLERANCES)
def test_weights_of_another_type(dtype, weight_dtype):
    x, weight = operands(2, 3, 8, 4, 4, dtype)
    weight = weight.to(weight_dtype)
    with backend.using("triton"), poisoned():
        found = run(x, weight, 3, torch.ones_like(x))
    with backend.using("reference"):
        expected = run(x.double(), weight.double(), 3, torch.ones_like(x).double())
    for result, exact, kind in zip(found, expected, (x, x, weight), strict=True):
        assert result.dtype == kind.dtype
        assert_close(result, exact, kind.dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_gradients_and_features_that_lie_as_they_like(dtype):
    x, weight = operands(2, 3, 8, 4, 6, dtype)
    check(x, weight, 3, torch.full((), 0.5, dtype=dtype, device=DEVICE).expand(x.shape))
    check(x[..., 1:5], weight, 3)
    check(x, weight, 3, x.contiguous())


@pytest.mark.parametrize("value", [0.0, -1.0, 1e4])
def test_extremes(value):
    x, weight = operands(2, 3, 8, 4, 4, torch.bfloat16)
    check(torch.full_like(x, value), weight, 3)


def test_clips_do_not_mix():
    x = torch.zeros(6, 1, 2, 2, device=DEVICE)
    x[2] = 1  # the last segment of the first of two clips
    with backend.using("triton"):
        out = temporal_conv(x, torch.ones(1, 1, 3, device=DEVICE), 3)
    assert out[:, 0, 0, 0].tolist() == [0, 1, 1, 0, 0, 0]


def test_launches():
    """One forward, one backward, and one that adds up the gradients of the weights."""
    x, weight = operands(2, 3, 8, 4, 4, torch.float16)
    with backend.using("triton"), backend.recorded() as launches:
        run(x, weight, 3, torch.ones_like(x))
    assert len(launches) == 3


def test_equal_bits_in_every_run():
    x, weight = operands(2, 3, 40, 9, 9, torch.bfloat16)
    runs = []
    for _ in range(2):
        with backend.using("triton"):
            runs.append(run(x, weight, 3, x))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_registration(layout):
    x, weight = operands(2, 3, 4, 3, 5, layout=layout)
    backward = torch.ops.tdn.temporal_conv_backward.default
    torch.library.opcheck(backward, (x.clone(), x, weight.bfloat16(), 3))
    arguments = (x.requires_grad_(), weight.requires_grad_(), 3)
    torch.library.opcheck(torch.ops.tdn.temporal_conv.default, arguments)


def test_compiled_as_one_graph():
    x, weight = operands(2, 3, 4, 3, 5)
    weight.requires_grad_()
    with backend.using("triton"):
        compiled = torch.compile(temporal_conv, fullgraph=True, backend="aot_eager")
        found, expected = compiled(x, weight, 3), temporal_conv(x, weight, 3)
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(v.sum(), weight)[0] for v in (found, expected)))


def test_under_autocast():
    x, weight = operands(2, 3, 4, 3, 5, torch.bfloat16)
    with backend.using("triton"), torch.autocast(DEVICE, torch.bfloat16):
        assert temporal_conv(x, weight, 3).dtype == torch.bfloat16
