"""Arithmetic that several kernels need, as Triton functions."""

from __future__ import annotations

import triton
import triton.language as tl

from tdn.kernels.backend import INTERPRETING

_INTERPRETING: tl.constexpr = tl.constexpr(INTERPRETING)


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """float32 x as another floating-point type, to the nearest.

    The interpreter cuts bfloat16 off where the hardware rounds.
    """
    if _INTERPRETING and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits += 0x7FFF + ((bits >> 16) & 1)
        nearest = (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
        x = tl.where(x == x, nearest, x)
    return x.to(dtype)
