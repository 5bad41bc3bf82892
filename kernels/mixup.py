"""Mixup: every clip blended with another one of the batch, byte by byte.

    out = b + floor(((a - b) * w + 64) / 128)

a is a byte of the clip, b that of its partner, w / 128 the clip's weight: the blend of the two,
rounded to the nearest byte, halves up. In integers throughout, so that the clips stay bytes and
everything that computes this agrees to the bit.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from tdn.kernels.backend import block, cdiv, launch, uses_triton

WHOLE = 128
"""The weight of a clip that is not mixed."""


def mixup(clips: Tensor, shift: int, weight: int) -> Tensor:
    """Blend clip i with clip i + shift, counted in a circle.

    Args:
        clips: uint8 (N, ...), contiguous.
        shift: distance to the partner, 0 to N.
        weight: of the clip in 128ths, 0 to 128; its partner has the rest.

    Returns:
        Clips of the same shape, in memory of their own.
    """
    mixed = torch.empty_like(clips)
    count, size = len(clips), clips[0].numel()
    if uses_triton(clips):
        tile = block(size, 4096)
        grid = cdiv(size, tile), count
        launch(_mixup_kernel, grid, clips, mixed, size, count, shift, weight, TILE=tile)
        return mixed
    for index in range(count):  # one at a time: the products of a batch would fill the memory
        partner = clips[(index + shift) % count]
        product = torch.sub(clips[index].short(), partner).mul_(weight).add_(WHOLE // 2)
        mixed[index] = product.floor_divide_(WHOLE).add_(partner)
    return mixed


@triton.jit
def _mixup_kernel(clips, mixed, size, count, shift, weight, TILE: tl.constexpr):
    """out = b + ((a - b) * w + 64 >> 7), for bytes of a clip."""
    clip = tl.program_id(1)
    partner = (clip + shift) % count
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = at < size
    a = tl.load(clips + clip.to(tl.int64) * size + at, mask=mask).to(tl.int32)
    b = tl.load(clips + partner.to(tl.int64) * size + at, mask=mask).to(tl.int32)
    out = b + ((a - b) * weight + 64 >> 7)
    tl.store(mixed + clip.to(tl.int64) * size + at, out.to(tl.uint8), mask=mask)
