"""Arithmetic that several kernels need."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import INTERPRETING, block, cdiv, launch

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


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """Matrix product a (M, K) by b (K, N), float32.

    Tensor cores cut what they take as tf32 off after 10 bits, which shrinks every product a
    little; rounded before, errors have no direction.
    """
    if PRECISION == "tf32":
        return tl.dot(_to_tf32(a), _to_tf32(b), input_precision="tf32")
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _to_tf32(x):
    """Nearest number of 10 bits; NaN stays NaN."""
    bits = x.to(tl.uint32, bitcast=True) + 0x1000
    nearest = (bits & 0xFFFFE000).to(tl.float32, bitcast=True)
    return tl.where(x == x, nearest, x)


@triton.jit
def gates(u_next, u_previous):
    """Sigmoids of two maps, and their slopes.

    One division serves both, as divisions and exponentials are what the pass waits for:
    with a = exp(-u+), b = exp(-u-) and r = 1 / ((1 + a) (1 + b)),

        q+ = (1 + b) r,  q- = (1 + a) r,  q (1 - q) = a q^2

    Below -40 both q and its slope are 0 to float32's last bit beside 1/2, but a product of
    exponentials would overflow; NaN stays NaN.

    Returns:
        q+, q-, q+ (1 - q+) and q- (1 - q-).
    """
    a = tl.exp(-tl.where(u_next < -40, -40.0, u_next))
    b = tl.exp(-tl.where(u_previous < -40, -40.0, u_previous))
    r = 1 / ((1 + a) * (1 + b))
    q_next = (1 + b) * r
    q_previous = (1 + a) * r
    return q_next, q_previous, a * q_next * q_next, b * q_previous * q_previous


def column_sums(rows: Tensor) -> Tensor:
    """Sum of float32 (S, ...) over S, in the same order in every run: float32 (...)."""
    out = torch.empty(rows.shape[1:], dtype=torch.float32, device=rows.device)
    columns = out.numel()
    tile_s = block(len(rows), 64)
    tile = block(columns, 2048 // tile_s)
    launch(
        _column_sums_kernel,
        (cdiv(columns, tile),),
        *(rows, out, len(rows), columns),
        STEPS=block(cdiv(len(rows), tile_s), 1 << 20),
        TILE_S=tile_s,
        TILE=tile,
    )
    return out


@triton.jit
def _column_sums_kernel(
    rows, out, count, columns, STEPS: tl.constexpr, TILE_S: tl.constexpr, TILE: tl.constexpr
):
    """A block of columns, all rows."""
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    total = tl.zeros((TILE_S, TILE), tl.float32)
    for step in range(STEPS):
        row = step * TILE_S + tl.arange(0, TILE_S)
        inside = (row < count)[:, None] & (column < columns)[None, :]
        at = row.to(tl.int64)[:, None] * columns + column[None, :]
        total += tl.load(rows + at, mask=inside, other=0)
    tl.store(out + column, tl.sum(total, axis=0), mask=column < columns)
