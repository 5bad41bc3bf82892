"""How the tests of the Triton kernels compare them with a float64 reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""Without a GPU the kernels run in Triton's interpreter."""
TOLERANCES = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Largest relative norm of the difference to float64, by the type of the features."""


@contextmanager
def poisoned() -> Iterator[None]:
    """Fresh memory holds NaN within the block: what a kernel forgets to write shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype, scale: float = 1.0) -> None:
    """The relative norm of the difference is within the tolerance of the features' type.

    Args:
        found: result of a kernel.
        expected: result of the reference on the same values, in float64.
        dtype: type of the features.
        scale: multiple of the tolerance that is allowed.
    """
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
    distance = (found.double() - expected).norm()
    bound = scale * TOLERANCES[dtype] * expected.norm()
    assert distance <= bound, f"{distance / expected.norm().clamp(min=1e-300):.1e} relative"
