"""Random images for the tests of the operations."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

LAYOUTS = (torch.contiguous_format, torch.channels_last)
SIZES = (7, 14, 15, 56, 57)
"""Heights and widths that the network meets, even and odd."""

counts = st.integers(1, 3)
segment_counts = st.integers(1, 5)
sides = st.integers(1, 9)
layouts = st.sampled_from(LAYOUTS)


def images(
    *shape: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Standard normal images (M, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values.to(dtype).contiguous(memory_format=layout)
