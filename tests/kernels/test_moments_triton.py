from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tdn.kernels import backend
from tdn.kernels import moments as module
from tdn.kernels.map_tiles import cut
from tdn.kernels.moments import moments, reference
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, images, layouts

DTYPES = tuple(TOLERANCES)


def maps(*shape, dtype=torch.float32, layout=torch.contiguous_format, seed=0):
    """Of every channel another mean and deviation."""
    channel = torch.arange(1, shape[1] + 1).view(-1, 1, 1)
    values = images(*shape, seed=seed) * channel.sqrt() - 3 * channel
    return values.to(DEVICE, dtype).contiguous(memory_format=layout)


def by_kernels(tensors, directions):
    with backend.using("triton"), poisoned():
        return moments(tensors, directions)


def check(tensors, directions):
    found = by_kernels(tensors, directions)
    expected = reference([v.double() for v in tensors], directions)
    assert found.shape == (len(tensors), 3, directions, tensors[0].shape[1])
    assert found.dtype == torch.float32
    for row in range(3):  # the statistics are float32, whatever the maps are
        assert_close(found[:, row], expected[:, row], torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "height", "width"), [(8, 14, 15), (5, 7, 7), (128, 3, 2)])
def test_both_maps_and_directions(channels, height, width, dtype, layout):
    sizes = (height, width), (max(1, height // 2), max(1, width // 2))
    pair = [maps(6, channels, *s, dtype=dtype, layout=layout, seed=i) for i, s in enumerate(sizes)]
    check(pair, 2)
    check(pair[::-1], 2)
    check(pair[:1], 1)


@settings(max_examples=8, derandomize=True)  # now and then a sum comes near zero
@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 20),
    st.integers(1, 9),
    st.integers(2, 9),
    layouts,
)
def test_any_size(directions, count, channels, height, width, layout):
    check([maps(directions * count, channels, height, width, layout=layout)], directions)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_programs_with_several_tiles(layout, monkeypatch):
    """Small tiles and few programs here, as large images have on a GPU."""
    monkeypatch.setattr(module, "ELEMENTS", 16)
    monkeypatch.setattr(module, "PROGRAMS", 3)
    assert cut(5, 99, 3, 16, 3).steps > 1
    check([maps(10, 3, 9, 11, layout=layout), maps(10, 3, 9, 10, layout=layout, seed=1)], 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mean_far_larger_than_the_deviation(layout):
    """A difference of sums of squares would leave nothing, and so would the first value's square.

    Half of the positions that come first are of another magnitude altogether.
    """
    x = 1e4 + images(8, 4, 9, 9)
    check([x.to(DEVICE, torch.float32).contiguous(memory_format=layout)], 1)
    x[0] = 0
    check([x.to(DEVICE, torch.float32).contiguous(memory_format=layout)], 2)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.3, 1e4, -1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values_have_no_variance(value, dtype):
    x = torch.full((6, 3, 7, 5), value, dtype=dtype, device=DEVICE)
    found = by_kernels([x], 2)
    assert found[0, 0].eq(x[0, 0, 0, 0].float()).all()
    assert found[0, 1:].eq(0).all()


def test_running_statistics_move_as_in_batch_norm():
    x = maps(6, 4, 5, 3)
    norm = nn.BatchNorm2d(4).to(DEVICE)
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    for direction, found in enumerate(by_kernels([x], 2)[0].unbind(1)):
        norm(x.unflatten(0, (2, -1))[direction])
        mean.lerp_(found[0], norm.momentum)
        variance.lerp_(found[2], norm.momentum)
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close(variance, norm.running_var)


def test_bits_are_the_same_in_every_run():
    x = maps(6, 8, 14, 15, dtype=torch.float16)
    assert by_kernels([x], 2).equal(by_kernels([x], 2))


def test_maps_without_a_layout_of_their_own():
    wide = maps(4, 3, 5, 8)
    check([wide[..., ::2], wide[..., 1::2].transpose(2, 3)], 2)
    check([maps(4, 3, 5, 1).expand(-1, -1, -1, 6)], 1)


def test_the_operator_is_registered_well():
    operator = torch.ops.tdn.moments.default
    pair = [maps(4, 3, 4, 5), maps(4, 3, 2, 2)]
    torch.library.opcheck(operator, (pair, 2))


def test_compiles_and_takes_no_gradient():
    def run(x):
        return moments([x], 1)

    x = maps(4, 3, 4, 5).requires_grad_()
    with backend.using("triton"):
        eager = run(x)
        compiled = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    assert compiled.equal(eager)
    assert not eager.requires_grad
