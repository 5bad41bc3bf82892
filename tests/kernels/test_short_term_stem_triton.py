from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.kernels import backend
from tdn.kernels.short_term_stem import MEAN, STD, centre_frames, short_term_stem
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned

DTYPES = tuple(TOLERANCES)
SIZES = ((2, 14, 48), (1, 7, 16), (1, 1, 32), (2, 14, 14), (1, 9, 57), (1, 1, 1))
"""Clips, height and width: rows of multiples of 16 pixels, and others."""
FLOAT_SIZES = ((14, 16), (7, 57), (2, 3))


def frames(n, t, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randint(
        0, 256, (n, t, 5, height, width, 3), generator=generator, dtype=torch.uint8
    )
    return clips.to(DEVICE)


def floats(n, t, height, width, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, t, 5, 3, height, width), generator=generator).to(DEVICE, dtype)


def by_kernels(clips, dtype):
    with backend.using("triton"), poisoned():
        return short_term_stem(clips, dtype)


def reference(clips):
    with backend.using("reference"):
        return short_term_stem(
            clips.double() if clips.is_floating_point() else clips, torch.float64
        )


def gradients(clips, dtype, grads):
    clips = clips.detach().requires_grad_()
    return torch.autograd.grad(short_term_stem(clips, dtype), clips, grads)[0]


def random_like(results, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(v.shape, generator=generator).to(v) for v in results]


@pytest.mark.parametrize(("n", "height", "width"), SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes(n, height, width, dtype):
    clips = frames(n, 1, height, width)
    for found, expected in zip(by_kernels(clips, dtype), reference(clips), strict=True):
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert_close(found, expected, dtype)


@pytest.mark.parametrize(("height", "width"), FLOAT_SIZES)
@pytest.mark.parametrize(
    ("dtype", "out"), [(dtype, dtype) for dtype in DTYPES] + [(torch.float32, torch.float16)]
)
def test_floats_and_their_gradients(height, width, dtype, out):
    clips = floats(1, 2, height, width, dtype)
    found, expected = by_kernels(clips, out), reference(clips)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == out
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert_close(a, b, out)
    grads = random_like(found)
    with backend.using("triton"), poisoned():
        dx = gradients(clips, out, grads)
    with backend.using("reference"):
        exact = gradients(clips.double(), torch.float64, [g.double() for g in grads])
    assert dx.dtype == dtype
    assert_close(dx, exact, dtype)


@settings(max_examples=6)
@given(st.integers(1, 2), st.integers(2, 9), st.integers(2, 40), st.integers(0, 9))
def test_any_size(n, height, width, seed):
    for clips in (frames(n, 1, height, width, seed), floats(n, 1, height, width, seed=seed)):
        found = by_kernels(clips, torch.float32)
        for a, b in zip(found, reference(clips), strict=True):
            assert_close(a, b, torch.float32)


@pytest.mark.parametrize("width", [16, 20, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_centre_frames_alone(width, dtype):
    clips = frames(2, 1, 7, width)
    with backend.using("triton"), poisoned(), backend.recorded() as launches:
        centre_frames(clips, dtype)
    assert [launch.constants["DIFFERENCES"] for launch in launches] == [False]
    with backend.using("triton"), poisoned():
        found = centre_frames(clips, dtype)
    assert torch.equal(found, by_kernels(clips, dtype)[0])


@pytest.mark.parametrize("width", [16, 18])
def test_clips_that_are_a_part_of_others(width):
    """Their first byte lies anywhere, and they have gaps."""
    many = frames(2, 1, 5, 2 * width)
    shifted = many.new_zeros(many.numel() + 1)[1:].view(many.shape).copy_(many)
    for clips in (many[1:, :, :, :3], many[1:, ..., 5 : width + 5, :], shifted):
        for found, expected in zip(by_kernels(clips, torch.float32), reference(clips), strict=True):
            assert_close(found, expected, torch.float32)
    apart = floats(1, 1, 5, 2 * width)[..., 5 : width + 5]
    for found, expected in zip(by_kernels(apart, torch.float32), reference(apart), strict=True):
        assert_close(found, expected, torch.float32)


@pytest.mark.parametrize("width", [16, 18])
def test_bytes_are_rounded_once(width):
    clips = frames(1, 1, 6, width)
    for dtype in DTYPES:
        for a, b in zip(by_kernels(clips, dtype), reference(clips), strict=True):
            tolerance = torch.finfo(dtype).eps * b.abs() / 2 + 1e-6
            assert ((a.double() - b).abs() <= tolerance).all()


@pytest.mark.parametrize("width", [16, 18])
def test_still_clips_have_no_differences(width):
    clips = frames(1, 1, 8, width)[:, :, :1].expand(-1, -1, 5, -1, -1, -1)
    assert by_kernels(clips, torch.float16)[1].count_nonzero() == 0


def test_huge_and_constant_floats():
    for value in (0.0, -1.0, 1e4):
        clips = torch.full((1, 2, 5, 3, 6, 16), value, device=DEVICE)
        clips[:, :, 1] *= -1
        for found, expected in zip(by_kernels(clips, torch.float32), reference(clips), strict=True):
            assert_close(found, expected, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_a_sum_and_of_one_result(dtype):
    clips = floats(1, 2, 5, 18, dtype).requires_grad_()
    for index in (0, 1):
        with backend.using("triton"), poisoned():
            found = torch.autograd.grad(short_term_stem(clips, dtype)[index].sum(), clips)[0]
        with backend.using("reference"):
            exact = clips.detach().double().requires_grad_()
            results = short_term_stem(exact, torch.float64)
            expected = torch.autograd.grad(results[index].sum(), exact)[0]
        assert_close(found, expected, dtype)


def test_one_launch_each_way():
    with backend.using("triton"), backend.recorded() as launches:
        short_term_stem(frames(2, 2, 8, 16), torch.float16)
        short_term_stem(frames(2, 2, 7, 15), torch.float16)
        clips = floats(1, 2, 8, 16).requires_grad_()
        centre, differences = short_term_stem(clips)
        (centre.sum() + differences.sum()).backward()
    assert [launch.kernel.__name__ for launch in launches] == [
        "wide_kernel",
        "any_kernel",
        "any_kernel",
        "backward_kernel",
    ]


def test_equal_bits_in_every_run():
    clips = frames(1, 1, 6, 32)
    first, second = by_kernels(clips, torch.bfloat16), by_kernels(clips, torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("form", ["bytes", "floats"])
def test_registration(form):
    clips = frames(1, 2, 4, 6) if form == "bytes" else floats(1, 2, 4, 6).requires_grad_()
    torch.library.opcheck(torch.ops.tdn.short_term_stem.default, (clips, torch.float16))
    if form == "bytes":
        torch.library.opcheck(torch.ops.tdn.centre_frames.default, (clips, torch.float16))


@pytest.mark.parametrize("form", ["bytes", "floats"])
def test_compiled_as_one_graph(form):
    clips = frames(1, 2, 4, 16) if form == "bytes" else floats(1, 2, 4, 16).requires_grad_()
    with backend.using("triton"):
        compiled = torch.compile(short_term_stem, fullgraph=True, backend="aot_eager")
        for found, expected in zip(compiled(clips), short_term_stem(clips), strict=True):
            assert torch.equal(found, expected)


def test_other_types_are_left_to_the_reference():
    with backend.using("triton"), backend.recorded() as launches:
        short_term_stem(frames(1, 1, 4, 4), torch.float64)
        short_term_stem(floats(1, 1, 4, 4, torch.float64))
        centre_frames(frames(1, 1, 4, 4), torch.float64)
    assert not launches


def test_constants_are_those_of_imagenet():
    assert MEAN == (0.485, 0.456, 0.406)
    assert STD == (0.229, 0.224, 0.225)
