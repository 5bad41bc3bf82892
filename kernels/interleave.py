"""Values that take turns in memory, as colours do, and how kernels take them apart.

Loads and stores of 16 bytes hold pieces of a row, but arithmetic is on one colour at a time. From
the one to the other registers are only renamed, as all sizes are known to the compiler.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def deinterleave(a, b, c):
    """Take rows of twelve apart in threes.

    Args:
        a: columns 0 to 3 of the rows, (M, 4).
        b: columns 4 to 7.
        c: columns 8 to 11.

    Returns:
        Columns 0, 3, 6, 9, then 1, 4, 7, 10, then 2, 5, 8, 11, each (M, 4).
    """
    a0, a1, a2, a3 = _columns(a)
    b0, b1, b2, b3 = _columns(b)
    c0, c1, c2, c3 = _columns(c)
    return _stack(a0, a3, b2, c1), _stack(a1, b0, b3, c2), _stack(a2, b1, c0, c3)


@triton.jit
def interleave(a, b, c):
    """The inverse of ``deinterleave``."""
    a0, a1, a2, a3 = _columns(a)
    b0, b1, b2, b3 = _columns(b)
    c0, c1, c2, c3 = _columns(c)
    return _stack(a0, b0, c0, a1), _stack(b1, c1, a2, b2), _stack(c2, a3, b3, c3)


@triton.jit
def store_groups(pointers, v, mask):
    """Store rows of 48 values, which are four groups of twelve.

    Args:
        pointers: (M,), to the first value of a row.
        v: tuple of twelve tensors (M, 4), value j of every group.
        mask: (M,), which rows to store.
    """
    a0, b0, c0 = interleave(v[0], v[4], v[8])
    a1, b1, c1 = interleave(v[1], v[5], v[9])
    a2, b2, c2 = interleave(v[2], v[6], v[10])
    a3, b3, c3 = interleave(v[3], v[7], v[11])
    pointers = pointers[:, None] + tl.arange(0, 16)[None, :]
    tl.store(pointers, _take_turns(a0, a1, a2, a3), mask=mask[:, None])
    tl.store(pointers + 16, _take_turns(b0, b1, b2, b3), mask=mask[:, None])
    tl.store(pointers + 32, _take_turns(c0, c1, c2, c3), mask=mask[:, None])


@triton.jit
def _take_turns(a, b, c, d):
    """From (M, 4) each: a[0] b[0] c[0] d[0] a[1] and so on, (M, 16)."""
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [a.shape[0], 16])


@triton.jit
def _stack(a, b, c, d):
    """Four tensors (M,) as the columns of (M, 4)."""
    return tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [a.shape[0], 4])


@triton.jit
def _columns(x):
    """The four columns (M,) of (M, 4)."""
    even, odd = tl.split(tl.reshape(x, [x.shape[0], 2, 2]))
    a, c = tl.split(even)
    b, d = tl.split(odd)
    return a, b, c, d
