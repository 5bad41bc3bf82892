from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn.kernels import backend
from tdn.kernels.mixup import mixup
from tests.kernels.agreement import DEVICE

BACKENDS = ("reference", "triton")


def clips(*shape: int, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return torch.from_numpy(values).to(DEVICE)


def by_formula(x: torch.Tensor, shift: int, weight: int) -> np.ndarray:
    """The blend in floating point, halves rounded up."""
    a = x.cpu().numpy().astype(np.float64)
    b = np.roll(a, -shift, axis=0)
    return np.floor((weight * a + (128 - weight) * b) / 128 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("name", BACKENDS)
@given(st.integers(1, 5), st.integers(1, 200), st.integers(0, 5), st.integers(0, 128))
def test_is_the_blend_rounded(name, count, size, shift, weight):
    x = clips(count, size, seed=size)
    before = x.clone()
    with backend.using(name):
        mixed = mixup(x, min(shift, count), weight)
    assert np.array_equal(mixed.cpu().numpy(), by_formula(x, min(shift, count), weight))
    assert mixed.dtype == torch.uint8
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_pair_of_bytes_with_every_weight(name):
    a, b = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    pairs = torch.stack((a, b)).to(torch.uint8).to(DEVICE)
    for weight in range(129):
        with backend.using(name):
            mixed = mixup(pairs, 1, weight)
        assert np.array_equal(mixed.cpu().numpy(), by_formula(pairs, 1, weight))


@pytest.mark.parametrize("name", BACKENDS)
def test_clips_keep_their_shape(name):
    x = clips(3, 2, 5, 7, 9, 3)
    with backend.using(name):
        mixed = mixup(x, 2, 77)
    assert mixed.shape == x.shape
    assert mixed.is_contiguous()
    assert np.array_equal(mixed.cpu().numpy(), by_formula(x, 2, 77))
    assert mixed.data_ptr() != x.data_ptr()
