"""Fusion: the short-term features join those of the centre frame.

    out = a * x + b * nearest(d)

nearest repeats the pixels of d to the size of x: row i of the result is row floor(i * h / H) of d,
in the float32 arithmetic of torch. The gradients, with D that of the result:

    dx = a * D,    dd = b * sum of D over the pixels that repeat one of d, its window

Source: the released code; the paper (section 3.2) writes a plain sum and bilinear upsampling.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from tdn.kernels.backend import cdiv, launch, uses_triton
from tdn.kernels.layout import as_laid, memory_format, offsets, tile_sides
from tdn.kernels.numerics import rounded


def fusion(x: Tensor, differences: Tensor, a: float, b: float) -> Tensor:
    """Weighted sum of features and of short-term features of another resolution.

    Args:
        x: features (N*T, C, H, W).
        differences: short-term features (N*T, C, h, w).
        a: weight of x.
        b: weight of the short-term features.

    Returns:
        (N*T, C, H, W) in the type and layout of x.
    """
    differences = differences.to(x.dtype)
    if uses_triton(x):
        return _fusion(x, differences, a, b)
    upsampled = F.interpolate(differences, size=x.shape[2:], mode="nearest")
    return torch.add(a * x, upsampled, alpha=b)


@torch.library.custom_op("tdn::fusion", mutates_args=())
def _fusion(x: Tensor, d: Tensor, a: float, b: float) -> Tensor:
    x, d = as_laid(x, x), as_laid(d, x)
    out = torch.empty_like(x, memory_format=memory_format(x))
    images, channels, height, width = x.shape
    tile_p, tile_c = tile_sides(x, 64, 32)
    _, *sizes = _sizes(x, d)  # the number of pixels stands for the height
    launch(
        _fusion_kernel,
        (cdiv(channels, tile_c), cdiv(height * width, tile_p), images),
        *(x, d, out, *sizes, a, b),
        CHANNELS=channels,
        LAST=memory_format(x) == torch.channels_last,
        TILE_P=tile_p,
        TILE_C=tile_c,
    )
    return out


@_fusion.register_fake
def _(x: Tensor, d: Tensor, a: float, b: float) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@torch.library.custom_op("tdn::fusion_backward", mutates_args=())
def _fusion_backward(
    grad: Tensor, height: int, width: int, a: float, b: float
) -> tuple[Tensor, Tensor]:
    """Gradients of x, in the layout of that of the result, and of d of a height and width."""
    grad = as_laid(grad, grad)
    dx, dd = _new_gradients(grad, height, width)
    images, channels = grad.shape[:2]
    tile_p, tile_c = tile_sides(dd, 64, 16)
    launch(
        _fusion_backward_kernel,
        (cdiv(channels, tile_c), cdiv(height * width, tile_p), images),
        *(grad, dx, dd, *_sizes(grad, dd), a, b),
        ROWS=window(grad.shape[2], height),
        COLUMNS=window(grad.shape[3], width),
        CHANNELS=channels,
        LAST=memory_format(grad) == torch.channels_last,
        TILE_P=tile_p,
        TILE_C=tile_c,
    )
    return dx, dd


@_fusion_backward.register_fake
def _(grad: Tensor, height: int, width: int, a: float, b: float) -> tuple[Tensor, Tensor]:
    return _new_gradients(grad, height, width)


def _new_gradients(grad: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    layout = memory_format(grad)
    low = torch.empty(
        (*grad.shape[:2], height, width),
        dtype=grad.dtype,
        device=grad.device,
        memory_format=layout,
    )
    return torch.empty_like(grad, memory_format=layout), low


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, d, ctx.a, ctx.b = inputs
    ctx.layout, ctx.size = memory_format(x), d.shape[2:]


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    grad = grad.contiguous(memory_format=ctx.layout)
    return *_fusion_backward(grad, *ctx.size, ctx.a, ctx.b), None, None


_fusion.register_autograd(_gradients, setup_context=_keep)


def _sizes(x: Tensor, d: Tensor) -> tuple[int | float, ...]:
    """H, W, H*W, h, w, h*w, h / H and w / W.

    The compiler learns from a product of sides that is passed on what divides it.
    """
    (height, width), (low_height, low_width) = x.shape[2:], d.shape[2:]
    sides = height, width, height * width, low_height, low_width, low_height * low_width
    return *sides, low_height / height, low_width / width


@lru_cache(maxsize=1024)
def window(size: int, low: int) -> int:
    """Most pixels along a side that repeat one pixel, counted from where exact arithmetic starts.

    Args:
        size: pixels of the side.
        low: pixels before the repetition.
    """
    scale = torch.tensor(low / size, dtype=torch.float32)
    pixels = torch.arange(size)
    source = (pixels * scale).int().clamp(max=low - 1)
    return int((pixels - (source * size + low - 1) // low).max()) + 1


@triton.jit
def nearest(pixel, scale, low):
    """Number of the pixel, of ``low``, that is repeated in a pixel."""
    return tl.minimum((pixel.to(tl.float32) * scale).to(tl.int32), low - 1)


@triton.jit
def _fusion_kernel(
    x,
    d,
    out,
    width,
    pixels,
    low_height,
    low_width,
    low_pixels,
    scale_y,
    scale_x,
    a,
    b,
    CHANNELS: tl.constexpr,
    LAST: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
):
    """out = a * x + b * d[source of the pixel], for a block of channels and of pixels."""
    image = tl.program_id(2).to(tl.int64) * CHANNELS
    p = tl.program_id(1) * TILE_P + tl.arange(0, TILE_P)
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    mask = (p < pixels)[:, None] & (c < CHANNELS)[None, :]
    source = nearest(p // width, scale_y, low_height) * low_width
    source += nearest(p % width, scale_x, low_width)
    at = image * pixels + offsets(p, c, pixels, CHANNELS, LAST)
    low_at = image * low_pixels + offsets(source, c, low_pixels, CHANNELS, LAST)
    sum_ = a * tl.load(x + at, mask=mask).to(tl.float32)
    sum_ += b * tl.load(d + low_at, mask=mask).to(tl.float32)
    tl.store(out + at, rounded(sum_, out.dtype.element_ty), mask=mask)


@triton.jit
def _fusion_backward_kernel(
    grad,
    dx,
    dd,
    height,
    width,
    pixels,
    low_height,
    low_width,
    low_pixels,
    scale_y,
    scale_x,
    a,
    b,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LAST: tl.constexpr,
    TILE_P: tl.constexpr,
    TILE_C: tl.constexpr,
):
    """The windows of a block of d's pixels and of channels: dx on them, and their sum.

    A window starts at ceil(i * H / h), or, where float32 falls short of i, one later.
    """
    image = tl.program_id(2).to(tl.int64) * CHANNELS
    p = tl.program_id(1) * TILE_P + tl.arange(0, TILE_P)
    c = tl.program_id(0) * TILE_C + tl.arange(0, TILE_C)
    row, column = p // low_width, p % low_width
    first_y = tl.cdiv(row * height, low_height)
    first_x = tl.cdiv(column * width, low_width)
    in_c = (c < CHANNELS)[None, :]
    total = tl.zeros((TILE_P, TILE_C), tl.float32)
    for place in range(ROWS * COLUMNS):
        y = first_y + place // COLUMNS
        x = first_x + place % COLUMNS
        inside = (p < low_pixels) & (y < height) & (x < width)
        inside &= nearest(y, scale_y, low_height) == row
        inside &= nearest(x, scale_x, low_width) == column
        mask = inside[:, None] & in_c
        at = image * pixels + offsets(y * width + x, c, pixels, CHANNELS, LAST)
        v = tl.load(grad + at, mask=mask, other=0).to(tl.float32)
        tl.store(dx + at, rounded(a * v, dx.dtype.element_ty), mask=mask)
        total += v
    at = image * low_pixels + offsets(p, c, low_pixels, CHANNELS, LAST)
    mask = (p < low_pixels)[:, None] & in_c
    tl.store(dd + at, rounded(b * total, dd.dtype.element_ty), mask=mask)
