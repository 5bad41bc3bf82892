"""What a loader gives, for whoever takes it from elsewhere: nothing here needs DALI."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """What a step works on; N clips of T segments."""

    clips: torch.Tensor
    """(N, T, 5, H, W, 3) uint8 RGB, on the loader's device: DALI's own memory, not a copy."""
    labels: torch.Tensor
    """(N,) int64, on the CPU; of the mirrored class where a clip was mirrored."""
    indices: torch.Tensor
    """(N,) int64, on the CPU: rows in the list, from 0, blank lines not counted."""
    frame_numbers: torch.Tensor
    """(N, T, 5) int64, on the CPU: the frames that were decoded, from 0."""
    views: torch.Tensor
    """(N,) int64, on the CPU: which of its video's views each clip is, from 0."""
