"""The Triton kernels of the short-term stem (``short_term_stem`` says what they compute).

Bytes in rows of 16 pixels and their multiples, as training has them, go through ``wide_kernel``:
a thread takes 16 pixels of two rows, 48 bytes in each, as words. Odd sizes and float clips go
through ``any_kernel``, where a thread takes single windows of a colour. Both read every value
once, and the sums of bytes are exact.

Memory holds the results in channels_last: (M, H, W, 3) and (M, H // 2, W // 2, 12).
"""

from __future__ import annotations

import triton
import triton.language as tl

from tdn.kernels.interleave import deinterleave, store_groups
from tdn.kernels.numerics import rounded


@triton.jit
def wide_kernel(
    clips,
    centre,
    differences,
    height,
    groups,
    MEANS: tl.constexpr,
    SCALES: tl.constexpr,
    DIFFERENCES: tl.constexpr,
    UNITS: tl.constexpr,
):
    """centre = (x3 - mean) * scale;  difference = sum of a window of (x[i+1] - x[i]) * scale / 4.

    Args:
        clips: bytes (M, 5, H, W, 3) as words, at an address that 16 divides.
        centre: (M, H, W, 3).
        differences: (M, H // 2, W // 2, 12).
        height: H.
        groups: W / 16.
        MEANS: of the three colours, as bytes are.
        SCALES: of the three colours.
        DIFFERENCES: whether they are wanted.
        UNITS: of 16 pixels of two rows each, in a program.
    """
    image = tl.program_id(1).to(tl.int64)
    unit = tl.program_id(0) * UNITS + tl.arange(0, UNITS)
    row = unit // groups * 2
    group = unit % groups
    words = 12 * groups
    frame = words * height
    at = row * words + 12 * group
    single = row < height
    paired = row + 1 < height
    x3 = clips + image * (5 * frame) + 2 * frame + at
    upper = _pixels(x3, single)
    lower = _pixels(x3 + words, paired)
    to = centre + image * (4 * frame) + 4 * at
    store_groups(to, _normalised(upper, MEANS, SCALES, centre.dtype.element_ty), single)
    store_groups(to + 4 * words, _normalised(lower, MEANS, SCALES, centre.dtype.element_ty), paired)
    if DIFFERENCES:
        sums1 = _frame_sums(x3 - 2 * frame, words, paired)
        sums2 = _frame_sums(x3 - frame, words, paired)
        sums3 = _sums(upper, lower)
        sums4 = _frame_sums(x3 + frame, words, paired)
        sums5 = _frame_sums(x3 + 2 * frame, words, paired)
        of_all = (
            _difference(sums1, sums2, SCALES, differences.dtype.element_ty)
            + _difference(sums2, sums3, SCALES, differences.dtype.element_ty)
            + _difference(sums3, sums4, SCALES, differences.dtype.element_ty)
            + _difference(sums4, sums5, SCALES, differences.dtype.element_ty)
        )
        first = (row // 2 * groups + group) * 96
        both = tl.multiple_of(tl.reshape(tl.join(first, first + 48), [2 * UNITS]), 16)
        mask = tl.reshape(tl.join(paired, paired), [2 * UNITS])
        store_groups(differences + image * (height // 2 * groups * 96) + both, of_all, mask)


@triton.jit
def _pixels(pointers, mask):
    """16 pixels of every unit, four times four: tuple of (UNITS, 4), value 3 * pixel + colour."""
    pointers = pointers[:, None] + tl.arange(0, 4)[None, :]
    a, b, c = deinterleave(
        tl.load(pointers, mask=mask[:, None], other=0),
        tl.load(pointers + 4, mask=mask[:, None], other=0),
        tl.load(pointers + 8, mask=mask[:, None], other=0),
    )
    return _bytes(a) + _bytes(b) + _bytes(c)


@triton.jit
def _bytes(word):
    return word & 255, (word >> 8) & 255, (word >> 16) & 255, (word >> 24) & 255


@triton.jit
def _frame_sums(pointers, words, mask):
    return _sums(_pixels(pointers, mask), _pixels(pointers + words, mask))


@triton.jit
def _sums(upper, lower):
    """Sums of windows, eight in a unit, four in a row: tuple of (2 * UNITS, 4), a colour each."""
    return (
        _window_sums(upper, lower, 0),
        _window_sums(upper, lower, 1),
        _window_sums(upper, lower, 2),
    )


@triton.jit
def _window_sums(upper, lower, i: tl.constexpr):
    left = upper[i] + upper[i + 3] + lower[i] + lower[i + 3]
    right = upper[i + 6] + upper[i + 9] + lower[i + 6] + lower[i + 9]
    return tl.reshape(tl.join(left, right), [2 * left.shape[0], 4])


@triton.jit
def _difference(before, after, SCALES: tl.constexpr, dtype: tl.constexpr):
    red = (after[0] - before[0]).to(tl.float32) * (SCALES[0] / 4)
    green = (after[1] - before[1]).to(tl.float32) * (SCALES[1] / 4)
    blue = (after[2] - before[2]).to(tl.float32) * (SCALES[2] / 4)
    return rounded(red, dtype), rounded(green, dtype), rounded(blue, dtype)


@triton.jit
def _normalised(pixels, MEANS: tl.constexpr, SCALES: tl.constexpr, dtype: tl.constexpr):
    return (
        _pixel(pixels[0], pixels[1], pixels[2], MEANS, SCALES, dtype)
        + _pixel(pixels[3], pixels[4], pixels[5], MEANS, SCALES, dtype)
        + _pixel(pixels[6], pixels[7], pixels[8], MEANS, SCALES, dtype)
        + _pixel(pixels[9], pixels[10], pixels[11], MEANS, SCALES, dtype)
    )


@triton.jit
def _pixel(red, green, blue, MEANS: tl.constexpr, SCALES: tl.constexpr, dtype: tl.constexpr):
    red = (red.to(tl.float32) - MEANS[0]) * SCALES[0]
    green = (green.to(tl.float32) - MEANS[1]) * SCALES[1]
    blue = (blue.to(tl.float32) - MEANS[2]) * SCALES[2]
    return rounded(red, dtype), rounded(green, dtype), rounded(blue, dtype)


@triton.jit
def any_kernel(
    clips,
    centre,
    differences,
    height,
    width,
    MEANS: tl.constexpr,
    SCALES: tl.constexpr,
    DIFFERENCES: tl.constexpr,
    WINDOWS: tl.constexpr,
):
    """What ``wide_kernel`` computes, of clips of any size and type.

    Args:
        clips: bytes (M, 5, H, W, 3), or floating point (M, 5, 3, H, W).
        centre: (M, H, W, 3).
        differences: (M, H // 2, W // 2, 12).
        height: H.
        width: W.
        MEANS: of the three colours.
        SCALES: of the three colours.
        DIFFERENCES: whether they are wanted.
        WINDOWS: of a program.
    """
    image = tl.program_id(1).to(tl.int64)
    frame = 3 * height * width
    clips += image * (5 * frame)
    colour = tl.arange(0, 4)[:, None]
    row, column = _places(width, WINDOWS, 8)
    left, right, below = _inside(row, column, colour, height, width)
    dtype: tl.constexpr = centre.dtype.element_ty
    mean = _of_colour(MEANS, colour)
    scale = _of_colour(SCALES, colour)
    x3 = _windows(clips + 2 * frame, height, width, WINDOWS)
    to = centre + image * frame + (row * width + column) * 3 + colour
    tl.store(to, rounded((x3[0] - mean) * scale, dtype), mask=left)
    tl.store(to + 3, rounded((x3[1] - mean) * scale, dtype), mask=right)
    to += 3 * width
    tl.store(to, rounded((x3[2] - mean) * scale, dtype), mask=left & below)
    tl.store(to + 3, rounded((x3[3] - mean) * scale, dtype), mask=right & below)
    if DIFFERENCES:
        x1 = _windows(clips, height, width, WINDOWS)
        x2 = _windows(clips + frame, height, width, WINDOWS)
        x4 = _windows(clips + 3 * frame, height, width, WINDOWS)
        x5 = _windows(clips + 4 * frame, height, width, WINDOWS)
        to = differences + _pooled_offsets(image, row, column, height, width) + colour
        scale /= 4
        tl.store(to, rounded(_change(x1, x2) * scale, dtype), mask=right & below)
        tl.store(to + 3, rounded(_change(x2, x3) * scale, dtype), mask=right & below)
        tl.store(to + 6, rounded(_change(x3, x4) * scale, dtype), mask=right & below)
        tl.store(to + 9, rounded(_change(x4, x5) * scale, dtype), mask=right & below)


@triton.jit
def backward_kernel(
    grad_centre, grad_differences, grad_clips, height, width, WINDOWS: tl.constexpr
):
    """Gradient of float clips; with C and D those of the results, and D0 = D5 = 0:

        dx[i] = (D[i-1] - D[i]) / 4 in all pixels of a window;  dx3 also + C

    Args:
        grad_centre: (M, H, W, 3).
        grad_differences: (M, H // 2, W // 2, 12).
        grad_clips: (M, 5, 3, H, W).
        height: H.
        width: W.
        WINDOWS: of a program.
    """
    image = tl.program_id(1).to(tl.int64)
    frame = 3 * height * width
    colour = tl.arange(0, 4)[:, None]
    row, column = _places(width, WINDOWS, 8)
    left, right, below = _inside(row, column, colour, height, width)
    at = grad_differences + _pooled_offsets(image, row, column, height, width) + colour
    d1 = tl.load(at, mask=right & below, other=0).to(tl.float32) / 4
    d2 = tl.load(at + 3, mask=right & below, other=0).to(tl.float32) / 4
    d3 = tl.load(at + 6, mask=right & below, other=0).to(tl.float32) / 4
    d4 = tl.load(at + 9, mask=right & below, other=0).to(tl.float32) / 4
    at = grad_centre + image * frame + (row * width + column) * 3 + colour
    upper_left = tl.load(at, mask=left, other=0).to(tl.float32)
    upper_right = tl.load(at + 3, mask=right, other=0).to(tl.float32)
    at += 3 * width
    lower_left = tl.load(at, mask=left & below, other=0).to(tl.float32)
    lower_right = tl.load(at + 3, mask=right & below, other=0).to(tl.float32)
    to = grad_clips + image * (5 * frame)
    _store_windows(to, (-d1, -d1, -d1, -d1), height, width, WINDOWS)
    d = d1 - d2
    _store_windows(to + frame, (d, d, d, d), height, width, WINDOWS)
    d = d2 - d3
    x3 = (d + upper_left, d + upper_right, d + lower_left, d + lower_right)
    _store_windows(to + 2 * frame, x3, height, width, WINDOWS)
    d = d3 - d4
    _store_windows(to + 3 * frame, (d, d, d, d), height, width, WINDOWS)
    _store_windows(to + 4 * frame, (d4, d4, d4, d4), height, width, WINDOWS)


@triton.jit
def _of_colour(values: tl.constexpr, colour):
    return tl.where(colour == 0, values[0], tl.where(colour == 1, values[1], values[2]))


@triton.jit
def _places(width, WINDOWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Upper row and left column of a program's windows, or of their pixels with 16 columns.

    Windows come in eights, two rows of 16 pixels, so that threads find a row to load.

    Returns:
        Two (1, WINDOWS * COLUMNS / 8).
    """
    place = tl.arange(0, WINDOWS * COLUMNS // 8)[None, :]
    unit = tl.program_id(0) * (WINDOWS // 8) + place // COLUMNS
    groups = tl.cdiv(width, 16)
    column = unit % groups * 16 + place % COLUMNS * (16 // COLUMNS)
    return unit // groups * 2, column


@triton.jit
def _inside(row, column, colour, height, width):
    """Whether windows have a left pixel, a right one, and a lower row."""
    left = (colour < 3) & (row < height) & (column < width)
    return left, left & (column + 1 < width), row + 1 < height


@triton.jit
def _pooled_offsets(image, row, column, height, width):
    """Of windows in the differences."""
    width = width // 2
    return image * (height // 2 * width * 12) + (row // 2 * width + column // 2) * 12


@triton.jit
def _windows(frame, height, width, WINDOWS: tl.constexpr):
    """Upper left, upper right, lower left and lower right pixels of windows: (4, WINDOWS) each."""
    upper_left, upper_right = _window_row(frame, 0, height, width, WINDOWS)
    lower_left, lower_right = _window_row(frame, 1, height, width, WINDOWS)
    return upper_left, upper_right, lower_left, lower_right


@triton.jit
def _window_row(frame, lower: tl.constexpr, height, width, WINDOWS: tl.constexpr):
    colour = tl.arange(0, 4)[:, None]
    if frame.dtype.element_ty == tl.uint8:
        row, column = _places(width, WINDOWS, 8)
        at = frame + ((row + lower) * width + column) * 3 + colour
        mask = (colour < 3) & (row + lower < height)
        left = tl.load(at, mask=mask & (column < width), other=0)
        right = tl.load(at + 3, mask=mask & (column + 1 < width), other=0)
        return left.to(tl.int32), right.to(tl.int32)
    else:
        row, column = _places(width, WINDOWS, 16)
        at = frame + colour * (height * width) + (row + lower) * width + column
        mask = (colour < 3) & (row + lower < height) & (column < width)
        pixels = tl.load(at, mask=mask, other=0).to(tl.float32)
        return tl.split(tl.reshape(pixels, [4, WINDOWS, 2]))


@triton.jit
def _change(a, b):
    """Sum of a window's four differences; of floats, to subtract first is more precise."""
    return (b[0] - a[0]) + (b[1] - a[1]) + (b[2] - a[2]) + (b[3] - a[3])


@triton.jit
def _store_windows(frame, v, height, width, WINDOWS: tl.constexpr):
    """The inverse of ``_windows``, for floats."""
    colour = tl.arange(0, 4)[:, None]
    row, column = _places(width, WINDOWS, 16)
    at = frame + colour * (height * width) + row * width + column
    mask = (colour < 3) & (row < height) & (column < width)
    upper = tl.reshape(tl.join(v[0], v[1]), [4, 2 * WINDOWS])
    lower = tl.reshape(tl.join(v[2], v[3]), [4, 2 * WINDOWS])
    tl.store(at, rounded(upper, frame.dtype.element_ty), mask=mask)
    tl.store(at + width, rounded(lower, frame.dtype.element_ty), mask=mask & (row + 1 < height))
