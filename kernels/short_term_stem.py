"""Short-term stem: from a segment's five frames to the input of the two stem convs.

With x1 .. x5 the frames of a segment in [0, 1], m and s the mean and standard deviation of
ImageNet's colours:

    centre      = (x3 - m) / s
    differences = pool2x2(concat(x2 - x1, x3 - x2, x4 - x3, x5 - x4)) / s

The mean cancels in a difference of normalised frames, and pooling is linear, so the uint8 frames
are subtracted and summed as integers, exactly, and become floating point at half the resolution.

Source: paper section 3.2 and the released code.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

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
        ``centre_frames(clips, dtype)`` (N*T, 3, H, W) and ``frame_differences(clips, dtype)``
        (N*T, 12, H // 2, W // 2), both channels_last: so the bytes of the frames lie already,
        and convs are fastest on it on tensor cores as on CPUs.
    """
    return centre_frames(clips, dtype), frame_differences(clips, dtype)


def centre_frames(clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The third frame of every segment, normalised: (N*T, 3, H, W), channels_last."""
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
    """Values of red, green and blue, as precise as results of type dtype need, at least float32."""
    return torch.tensor(values, dtype=torch.promote_types(dtype, torch.float32), device=device)
