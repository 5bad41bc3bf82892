"""Short-term stem: from a segment's five frames to the input of the two stem convs.

With x1 .. x5 the frames of a segment in [0, 1], m and s the mean and standard deviation of
ImageNet's colours:

    centre      = (x3 - m) / s
    differences = pool2x2(concat(x2 - x1, x3 - x2, x4 - x3, x5 - x4)) / s

The mean cancels in a difference of normalised frames, and pooling is linear, so the uint8 frames
are subtracted and summed as integers, exactly, and become floating point at half the resolution.

The gradient of float clips, with C and D1 .. D4 those of the results, D spread over the windows of
the pool, and D0 = D5 = 0:

    dxi = (D[i-1] - D[i]) / 4,    dx3 also + C

Source: paper section 3.2 and the released code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tdn.kernels.backend import TYPES, block, cdiv, launch, uses_triton
from tdn.kernels.short_term_stem_triton import any_kernel, backward_kernel, wide_kernel

FRAMES = 5
"""Consecutive frames in a segment."""
MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue, for values in [0, 1]."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue, for values in [0, 1]."""


def short_term_stem(clips: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Normalised centre frames and pooled differences of clips.

    Args:
        clips: uint8 (N, T, 5, H, W, 3), or floating point (N, T, 5, 3, H, W), then taken as
            already normalised.
        dtype: floating-point type of the results.

    Returns:
        The third frame of every segment (N*T, 3, H, W), and the four differences of consecutive
        frames, 2x2 average pooled (N*T, 12, H // 2, W // 2), channel = difference * 3 + colour.
        Both are channels_last: so the bytes of the frames lie already, and convs are fastest on
        it on tensor cores as on CPUs.
    """
    if uses_triton(clips) and dtype in TYPES:
        return _stem(clips, dtype)
    return _centre_frames(clips, dtype), frame_differences(clips, dtype)


def centre_frames(clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The first result of ``short_term_stem`` alone, for networks without S-TDM."""
    if uses_triton(clips) and clips.dtype == torch.uint8 and dtype in TYPES:
        return _centre(clips, dtype)
    return _centre_frames(clips, dtype)


def _centre_frames(clips: Tensor, dtype: torch.dtype) -> Tensor:
    centre = clips[:, :, FRAMES // 2].flatten(0, 1)
    if clips.is_floating_point():
        return centre.to(dtype, memory_format=torch.channels_last)
    rows = centre.flatten(2)  # colours of a whole row side by side keep the inner loop long
    mean, std = (_colours(v, dtype, clips.device).repeat(centre.shape[2]) for v in (MEAN, STD))
    normalised = torch.sub(rows, 255 * mean).mul_(1 / (255 * std)).to(dtype)
    return normalised.view(centre.shape).permute(0, 3, 1, 2)


def frame_differences(clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The four differences of consecutive frames, 2x2 average pooled, an odd last row dropped.

    Returns:
        (N*T, 12, H // 2, W // 2), channels_last, channel = difference * 3 + colour.
    """
    if clips.is_floating_point():
        differences = (clips[:, :, 1:] - clips[:, :, :-1]).flatten(2, 3).flatten(0, 1)
        return F.avg_pool2d(differences, 2).to(dtype, memory_format=torch.channels_last)
    height, width = clips.shape[3:5]
    h, w = height // 2, width // 2
    rows = clips[:, :, :, 0 : 2 * h : 2].to(torch.int16) + clips[:, :, :, 1 : 2 * h : 2]
    differences = rows[:, :, 1:] - rows[:, :, :-1]
    pairs = differences[..., :-1, :] + differences[..., 1:, :]
    # From (N, T, difference, h, w, colour) to channels last, (N*T, h, w, difference * 3 + colour):
    sums = pairs[..., ::2, :].permute(0, 1, 3, 4, 2, 5).flatten(4).flatten(0, 1)
    scale = 1 / (4 * 255 * _colours(STD, dtype, clips.device))
    pooled = sums.flatten(2) * scale.repeat((FRAMES - 1) * w)
    return pooled.to(dtype).view(sums.shape).permute(0, 3, 1, 2)


def _colours(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Values of red, green and blue, as precise as results of type dtype need, at least float32.

    They are filled in on the device: a copy from the host would wait for it.
    """
    precise = torch.promote_types(dtype, torch.float32)
    return torch.stack([torch.full((), value, dtype=precise, device=device) for value in values])


@torch.library.custom_op("tdn::short_term_stem", mutates_args=())
def _stem(clips: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    centre, differences = _new_results(clips, dtype)
    _launch_forward(clips, centre, differences)
    return centre, differences


@_stem.register_fake
def _(clips: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return _new_results(clips, dtype)


@torch.library.custom_op("tdn::centre_frames", mutates_args=())
def _centre(clips: Tensor, dtype: torch.dtype) -> Tensor:
    centre = _new_images(clips, dtype, 3, *clips.shape[3:5])
    _launch_forward(clips, centre, None)
    return centre


@_centre.register_fake
def _(clips: Tensor, dtype: torch.dtype) -> Tensor:
    return _new_images(clips, dtype, 3, *clips.shape[3:5])


def _new_results(clips: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    height, width = clips.shape[4:6] if clips.is_floating_point() else clips.shape[3:5]
    centre = _new_images(clips, dtype, 3, height, width)
    return centre, _new_images(clips, dtype, 3 * (FRAMES - 1), height // 2, width // 2)


def _new_images(clips: Tensor, dtype: torch.dtype, *image: int) -> Tensor:
    n, t = clips.shape[:2]
    return torch.empty(
        (n * t, *image), dtype=dtype, device=clips.device, memory_format=torch.channels_last
    )


def _launch_forward(clips: Tensor, centre: Tensor, differences: Tensor | None) -> None:
    """Fill the results; without differences only the centre frames are read."""
    clips = clips.contiguous()
    images, _, height, width = centre.shape
    # The kernel does not touch what stands for differences that are not wanted.
    results = centre, centre if differences is None else differences
    constants: dict[str, Any] = {
        "MEANS": (0.0, 0.0, 0.0) if clips.is_floating_point() else tuple(255 * m for m in MEAN),
        "SCALES": (1.0, 1.0, 1.0) if clips.is_floating_point() else tuple(1 / 255 / s for s in STD),
        "DIFFERENCES": differences is not None,
    }
    pairs = cdiv(height, 2)
    if clips.dtype == torch.uint8 and width % 16 == 0 and clips.data_ptr() % 16 == 0:
        words = clips.view(-1).view(torch.int32)
        units = block(pairs * (width // 16), 64)
        grid = (cdiv(pairs * (width // 16), units), images)
        arguments = (words, *results, height, width // 16)
        launch(wide_kernel, grid, *arguments, num_warps=2, UNITS=units, **constants)
    else:
        # Threads load 16 bytes of a row of planes where rows allow it.
        large = clips.element_size() == 2 and width % 16 == 0
        windows = max(8, block(8 * pairs * cdiv(width, 16), 128 if large else 64))
        grid = (cdiv(8 * pairs * cdiv(width, 16), windows), images)
        launch(any_kernel, grid, clips, *results, height, width, WINDOWS=windows, **constants)


@torch.library.custom_op("tdn::short_term_stem_backward", mutates_args=())
def _stem_backward(grad_centre: Tensor, grad_differences: Tensor, dtype: torch.dtype) -> Tensor:
    """Gradient of float clips of a type, the clips and segments in one dimension."""
    grad_centre, grad_differences = (
        grad.contiguous(memory_format=torch.channels_last)
        for grad in (grad_centre, grad_differences)
    )
    images, colours, height, width = grad_centre.shape
    grad_clips = grad_centre.new_empty((images, FRAMES, colours, height, width), dtype=dtype)
    count = 8 * cdiv(height, 2) * cdiv(width, 16)
    windows = block(count, 128)
    launch(
        backward_kernel,
        (cdiv(count, windows), images),
        *(grad_centre, grad_differences, grad_clips, height, width),
        WINDOWS=windows,
    )
    return grad_clips


@_stem_backward.register_fake
def _(grad_centre: Tensor, grad_differences: Tensor, dtype: torch.dtype) -> Tensor:
    images, *image = grad_centre.shape
    return grad_centre.new_empty((images, FRAMES, *image), dtype=dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    clips, _ = inputs
    ctx.shape, ctx.dtype = clips.shape, clips.dtype


def _gradients(ctx: Any, grad_centre: Tensor, grad_differences: Tensor) -> tuple[Tensor, None]:
    return _stem_backward(grad_centre, grad_differences, ctx.dtype).view(ctx.shape), None


_stem.register_autograd(_gradients, setup_context=_keep)
