"""Resizing on the CPU, called from inside the graph.

DALI's own operator takes 17 to 20 ms of CPU time for the 40 frames of a clip, in each of its forms
(any filter, with or without antialias or a region, frames one by one; DALI 2.4 with AVX-512): more
than decoding them. torch takes 2 to 3 ms, and is nearer to Pillow: within one level, borders too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tdn.pipelines.sampling.augmentation import Size

Pixels = npt.NDArray[np.uint8]


def resize_region(frames: Pixels, region: npt.NDArray[np.float32], target: Size) -> Pixels:
    """Resize a region of frames as Pillow does, bilinear with antialias.

    Args:
        frames: (F, H, W, 3) uint8, or one frame, (H, W, 3).
        region: (4,) y0, x0, y1, x1 in pixels; where x1 < x0, the result is mirrored.
        target: Height and width of the result.

    Returns:
        (F, *target, 3) uint8, or (*target, 3).
    """
    pixels = torch.from_numpy(frames)
    clip = pixels if frames.ndim == 4 else pixels[None]
    y0, x0, y1, x1 = region.tolist()
    box = min(x0, x1), y0, max(x0, x1), y1
    if box == (0, 0, clip.shape[2], clip.shape[1]):
        resized = _resize_all(clip, target)
    else:
        resized = _resize_box(clip, box, target)
    if x1 < x0:
        resized = resized.flip(2)
    return (resized if frames.ndim == 4 else resized[0]).numpy()


def _resize_all(frames: Tensor, target: Size) -> Tensor:
    # Channels are first in name only, the memory is left as it is: torch's fast path.
    channels_last = frames.permute(0, 3, 1, 2)
    resized = F.interpolate(channels_last, target, mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()


def _resize_box(frames: Tensor, box: tuple[float, float, float, float], target: Size) -> Tensor:
    """A part that starts or ends between pixels: torch cannot do that."""
    height, width = target
    pictures = (Image.fromarray(frame) for frame in frames.numpy())
    resized = [p.resize((width, height), Image.Resampling.BILINEAR, box) for p in pictures]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in resized]))
