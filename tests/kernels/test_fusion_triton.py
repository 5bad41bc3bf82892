from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tdn.kernels import backend
from tdn.kernels.fusion import fusion, nearest, window
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, images

LARGEST = 64
"""Of the sides whose every pair is compared with torch."""


def pair(shape, low, dtype, layout):
    """Features and short-term features of another height and width."""
    x = images(*shape, dtype=dtype, layout=layout).to(DEVICE)
    d = images(*shape[:2], *low, seed=1, dtype=dtype, layout=layout).to(DEVICE)
    return x, d


def by_kernels(x, d, a, grad=None):
    """The result and both gradients."""
    with backend.using("triton"), poisoned():
        x, d = x.detach().requires_grad_(), d.detach().requires_grad_()
        out = fusion(x, d, a, 1 - a)
        return out, *torch.autograd.grad(out, (x, d), grad)


def reference(x, d, a, grad=None):
    with backend.using("reference"):
        x, d = x.detach().double().requires_grad_(), d.detach().double().requires_grad_()
        out = fusion(x, d, a, 1 - a)
        return out, *torch.autograd.grad(out, (x, d), grad if grad is None else grad.double())


def check(x, d, a=0.75, layout_of_grad=None):
    grad = images(*x.shape, seed=2, dtype=x.dtype).to(x.device)
    grad = grad.contiguous(memory_format=layout_of_grad or torch.contiguous_format)
    found = by_kernels(x, d, a, grad)
    for result, expected in zip(found, reference(x, d, a, grad), strict=True):
        assert result.dtype == x.dtype
        assert_close(result, expected, x.dtype)
    return found


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "low"),
    [
        ((2, 64, 14, 14), (7, 7)),
        ((1, 24, 15, 57), (8, 29)),
        ((2, 3, 7, 9), (7, 9)),
        ((1, 17, 9, 5), (2, 1)),
        ((1, 1, 1, 1), (1, 1)),
    ],
)
def test_agrees_with_float64(shape, low, layout, dtype):
    x, d = pair(shape, low, dtype, layout)
    out, dx, dd = check(x, d)
    for result in (out, dx, dd):
        assert result.is_contiguous(memory_format=layout)


@settings(max_examples=25)
@given(*[st.integers(1, 12)] * 4, st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS))
def test_any_sizes(height, width, low_height, low_width, layout, layout_of_grad):
    """Also of d larger than x, where some of its pixels are not repeated anywhere."""
    x, d = pair((1, 5, height, width), (low_height, low_width), torch.float32, layout)
    check(x, d, layout_of_grad=layout_of_grad)


@triton.jit
def _sources_kernel(pixels, scales, low, out, count: tl.constexpr):
    i = tl.arange(0, count)
    source = nearest(tl.load(pixels + i), tl.load(scales + i), tl.load(low + i))
    tl.store(out + i, source)


def test_sources_are_those_of_torch_for_every_pair_of_sizes():
    pixels, scales, low, expected = [], [], [], []
    for size in range(1, LARGEST + 1):
        for small in range(1, LARGEST + 1):
            numbers = torch.arange(small, dtype=torch.float32).view(1, 1, -1)
            source = F.interpolate(numbers, size=size, mode="nearest").flatten().int()
            expected.append(source)
            pixels.append(torch.arange(size, dtype=torch.int32))
            scales.append(torch.full((size,), small / size, dtype=torch.float32))
            low.append(torch.full((size,), small, dtype=torch.int32))
            first = -(-source.long() * size // small)
            steps = torch.arange(size) - first
            assert steps.min() >= 0, "a pixel lies before the window that it belongs to"
            assert steps.max() < window(size, small)
    columns = [torch.cat(v) for v in (pixels, scales, low, expected)]
    count = backend.cdiv(len(columns[0]), 8)
    for start in range(0, len(columns[0]), count):
        part = [v[start : start + count] for v in columns]
        tile = 1 << (count - 1).bit_length()
        arguments = [F.pad(v, (0, tile - len(v)), value=1).to(DEVICE) for v in part]
        out = torch.empty_like(arguments[0])
        backend.launch(_sources_kernel, (1,), *arguments[:3], out, count=tile)
        assert torch.equal(out[: len(part[0])].cpu(), part[3])


@pytest.mark.parametrize(("size", "low"), [(82, 2), (41, 1), (47, 47), (56, 28), (57, 29)])
def test_windows_where_float32_falls_short_of_a_whole_number(size, low):
    """41 * (1 / 41) is less than 1, for example."""
    x, d = pair((1, 2, size, 3), (low, 3), torch.float32, torch.channels_last)
    check(x, d)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_gradient_without_memory_of_its_own(dtype):
    x, d = pair((2, 4, 6, 5), (3, 3), dtype, torch.channels_last)
    grad = torch.full((), 0.5, dtype=dtype, device=DEVICE).expand(x.shape)
    for found, expected in zip(
        by_kernels(x, d, 0.5, grad), reference(x, d, 0.5, grad), strict=True
    ):
        assert_close(found, expected, dtype)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e4])
def test_extremes(value):
    x, d = pair((1, 4, 6, 6), (3, 3), torch.float16, torch.channels_last)
    check(torch.full_like(x, value), torch.full_like(d, -value))


def test_another_type_and_layout_of_the_short_term_features():
    x, d = pair((2, 4, 6, 6), (3, 3), torch.float16, torch.channels_last)
    for other in (d.float(), d.contiguous(), d.expand(2, 4, 3, 3)[:, :, :1].expand(-1, -1, 3, -1)):
        results = by_kernels(x, other, 0.5, torch.ones_like(x))
        assert results[0].dtype == torch.float16
        assert results[2].dtype == other.dtype
        for found, expected in zip(
            results, reference(x, other, 0.5, torch.ones_like(x)), strict=True
        ):
            assert_close(found, expected, torch.float16)


@pytest.mark.parametrize("name", ["triton", "reference"])
def test_the_result_has_the_type_of_the_features(name):
    x, d = pair((2, 4, 6, 6), (3, 3), torch.float16, torch.channels_last)
    with backend.using(name):
        assert fusion(x, d.float(), 0.5, 0.5).dtype == torch.float16


def test_one_launch_each_way():
    x, d = pair((2, 4, 6, 6), (3, 3), torch.float16, torch.channels_last)
    with backend.using("triton"), backend.recorded() as launches:
        fusion(x.requires_grad_(), d.requires_grad_(), 0.5, 0.5).sum().backward()
    assert len(launches) == 2


def test_equal_bits_in_every_run():
    x, d = pair((2, 4, 9, 9), (4, 4), torch.bfloat16, torch.channels_last)
    runs = [by_kernels(x, d, 0.75, torch.ones_like(x)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_registration(layout):
    x, d = pair((2, 3, 6, 5), (3, 2), torch.float32, layout)
    arguments = (x.requires_grad_(), d.requires_grad_(), 0.75, 0.25)
    torch.library.opcheck(torch.ops.tdn.fusion.default, arguments)
    torch.library.opcheck(torch.ops.tdn.fusion_backward.default, (x.detach(), 3, 2, 0.75, 0.25))


def test_compiled_as_one_graph():
    x, d = pair((2, 3, 6, 5), (3, 2), torch.float32, torch.channels_last)
    x.requires_grad_()
    with backend.using("triton"):
        compiled = torch.compile(fusion, fullgraph=True, backend="aot_eager")
        found, expected = compiled(x, d, 0.75, 0.25), fusion(x, d, 0.75, 0.25)
        assert torch.equal(found, expected)
        assert torch.equal(*(torch.autograd.grad(v.sum(), x)[0] for v in (found, expected)))


def test_under_autocast():
    x, d = pair((2, 3, 6, 5), (3, 2), torch.bfloat16, torch.channels_last)
    with backend.using("triton"), torch.autocast(DEVICE, torch.bfloat16):
        assert fusion(x, d, 0.5, 0.5).dtype == torch.bfloat16
