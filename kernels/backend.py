"""Which implementation of the operations runs: Triton kernels or eager PyTorch.

The environment variable TDN_KERNELS says:

    auto        Triton for tensors on a GPU, eager PyTorch elsewhere; the default
    triton      Triton everywhere; on a CPU that takes TRITON_INTERPRET=1, for tests
    reference   eager PyTorch everywhere

Every launch goes through ``launch``, so that tools can see what is launched (``recorded``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from tdn.errors import UserError

VARIABLE: Final = "TDN_KERNELS"
BACKENDS: Final = ("auto", "triton", "reference")
INTERPRETING: Final = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton's interpreter stands in for its compiler; it does so from import to exit."""
TYPES: Final = (torch.float16, torch.bfloat16, torch.float32)
"""Types of features that the kernels are made for; others are left to eager PyTorch."""

_requested = os.environ.get(VARIABLE) or "auto"
_records: list[Launch] | None = None


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, as ``launch`` was called."""

    kernel: Any
    """The ``triton.jit`` function."""
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    """Positional arguments: tensors and numbers."""
    constants: dict[str, Any]
    """Compile-time arguments by name."""
    options: dict[str, int]
    """num_warps and num_stages."""


def uses_triton(x: Tensor) -> bool:
    """Whether operations on x, and tensors like it, run as Triton kernels; not while exporting.

    Raises:
        UserError: TDN_KERNELS has an unknown value, or asks for Triton where it cannot run.
    """
    if _requested not in BACKENDS:
        raise UserError(f"{VARIABLE} is {_requested!r}; set it to one of {', '.join(BACKENDS)}")
    if _requested == "reference" or x.dtype not in (*TYPES, torch.uint8):
        return False
    if x.is_meta or torch.compiler.is_exporting():
        return False  # an exported network runs where these kernels are not
    if x.is_cuda or INTERPRETING or _records is not None:
        return x.is_cuda or _requested == "triton"
    if _requested == "triton":
        raise UserError(
            f"{VARIABLE}=triton, but the tensors are on the {x.device.type}; use a GPU, set "
            "TRITON_INTERPRET=1 for Triton's slow interpreter, or set it to auto"
        )
    return False


@contextmanager
def using(backend: str) -> Iterator[None]:
    """Ask for a backend, instead of TDN_KERNELS, within a block."""
    global _requested
    before, _requested = _requested, backend
    try:
        yield
    finally:
        _requested = before


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Note launches instead of making them, within a block; results stay uninitialised."""
    global _records
    before, _records = _records, []
    try:
        yield _records
    finally:
        _records = before


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *arguments: Any,
    num_warps: int = 4,
    num_stages: int = 2,
    **constants: Any,
) -> None:
    """Run a kernel.

    Args:
        kernel: ``triton.jit`` function.
        grid: number of programs, up to three dimensions.
        arguments: its run-time arguments, a tensor first.
        num_warps: warps of a program.
        num_stages: depth of software pipelining.
        constants: its compile-time arguments.
    """
    options = {"num_warps": num_warps, "num_stages": num_stages}
    if _records is not None:
        _records.append(Launch(kernel, grid, arguments, constants, options))
        return
    device = arguments[0].device
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            kernel[grid](*arguments, **constants, **options)
    else:
        kernel[grid](*arguments, **constants, **options)


def block(size: int, limit: int) -> int:
    """Elements of a tile along a dimension: a power of two, enough for ``size`` if within limits.

    The interpreter runs programs one after the other at a high price each, so that there tiles
    are 16 times as large.
    """
    limit *= 16 if INTERPRETING else 1
    return min(limit, 1 << max(0, size - 1).bit_length())


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
