from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F

from tdn.kernels.temporal_conv import temporal_conv
from tests.kernels.images import LAYOUTS, SIZES, counts, images, layouts, segment_counts, sides


def by_loops(x, weight, t):
    """Segment by segment and channel by channel."""
    out = torch.zeros_like(x)
    for image in range(len(x)):
        for channel in range(x.shape[1]):
            for tap in range(3):
                if 0 <= image % t + tap - 1 < t:
                    value = weight[channel, 0, tap] * x[image + tap - 1, channel]
                    out[image, channel] += value
    return out


def by_library(x, weight, t):
    """torch's conv over time, with the permutations it needs."""
    n, (_, channels, height, width) = len(x) // t, x.shape
    rows = x.view(n, t, channels, height, width).permute(0, 3, 4, 2, 1).reshape(-1, channels, t)
    out = F.conv1d(rows, weight, padding=1, groups=channels)
    return out.view(n, height, width, channels, t).permute(0, 4, 3, 1, 2).flatten(0, 1)


def test_agrees_with_a_loop_over_segments():
    x, weight = images(6, 4, 3, 2), images(4, 1, 3, 1, seed=1).squeeze(-1)
    torch.testing.assert_close(temporal_conv(x, weight, 3), by_loops(x, weight, 3))


@given(counts, segment_counts, counts, sides, sides, layouts)
def test_agrees_with_the_library_and_its_gradients(n, t, channels, height, width, layout):
    x = images(n * t, channels, height, width, layout=layout).requires_grad_()
    weight = images(channels, 1, 3, 1, seed=1).squeeze(-1).requires_grad_()
    found, expected = temporal_conv(x, weight, t), by_library(x, weight, t)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    assert found.is_contiguous(memory_format=layout)
    grad = images(*x.shape, seed=2, layout=layout)
    dx, dw = torch.autograd.grad(found, (x, weight), grad)
    dx_expected, dw_expected = torch.autograd.grad(expected, (x, weight), grad)
    torch.testing.assert_close(dx, dx_expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(dw, dw_expected, rtol=1e-12, atol=1e-12)
    assert dx.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("n", "t"), [(1, 8), (3, 4), (2, 1)])
def test_in_float32_and_channels_last_too(n, t):
    """On a CPU that is oneDNN's conv over an image with the segments as rows."""
    x = images(n * t, 32, 5, 3, dtype=torch.float32, layout=torch.channels_last).requires_grad_()
    weight = images(32, 1, 3, 1, dtype=torch.float32, seed=1).squeeze(-1).requires_grad_()
    grad = images(*x.shape, dtype=torch.float32, seed=2)
    with torch.profiler.profile() as profile:
        found = temporal_conv(x, weight, t)
        gradients = torch.autograd.grad(found, (x, weight), grad)
    assert "aten::mkldnn_convolution" in {event.name for event in profile.events()}
    exact = [v.detach().double().requires_grad_() for v in (x, weight)]
    expected = by_library(exact[0].contiguous(), exact[1], t)
    for a, b in zip(
        (found, *gradients),
        (expected, *torch.autograd.grad(expected, exact, grad.double())),
        strict=True,
    ):
        torch.testing.assert_close(a, b.float(), rtol=1e-5, atol=1e-5)
    for result in (found, gradients[0]):
        assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_gradcheck(t):
    x = images(2 * t, 2, 2, 3).requires_grad_()
    weight = images(2, 1, 3, 1, seed=1).squeeze(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: temporal_conv(x, w, t), (x, weight))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", SIZES)
def test_type_and_layout_are_kept(side, layout):
    x = images(8, 3, side, side, dtype=torch.bfloat16, layout=layout).requires_grad_()
    weight = images(3, 1, 3, 1, dtype=torch.float32).squeeze(-1).requires_grad_()
    out = temporal_conv(x, weight, 4)
    out.backward(torch.ones_like(out))
    assert out.dtype == x.grad.dtype == torch.bfloat16
    assert weight.grad.dtype == torch.float32
    for result in (out, x.grad):
        assert result.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_gradient_without_memory_of_its_own(dtype):
    """``sum().backward()`` hands an expanded scalar down."""
    x = images(6, 4, 3, 5, dtype=dtype, layout=torch.channels_last).requires_grad_()
    weight = images(4, 1, 3, 1, dtype=dtype, seed=1).squeeze(-1).requires_grad_()
    temporal_conv(x, weight, 3).sum().backward()
    found = x.grad, weight.grad
    expected = torch.autograd.grad(by_library(x, weight, 3).sum(), (x, weight))
    torch.testing.assert_close(found, expected)


def test_clips_do_not_mix():
    x = torch.zeros(6, 1, 2, 2)
    x[2] = 1  # the last segment of the first of two clips
    out = temporal_conv(x, torch.ones(1, 1, 3), 3)
    assert out[:, 0, 0, 0].tolist() == [0, 1, 1, 0, 0, 0]
