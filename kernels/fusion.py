"""Fusion: the short-term features join those of the centre frame.

    out = a * x + b * nearest(d)

nearest repeats the pixels of d to the size of x: row i of the result is row floor(i * h / H) of d.

Source: the released code; the paper (section 3.2) writes a plain sum and bilinear upsampling.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
    upsampled = F.interpolate(differences, size=x.shape[2:], mode="nearest")
    return torch.add(a * x, upsampled, alpha=b)
