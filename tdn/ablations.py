"""L-TDM with parts left out, for ablations; the whole one is ``tdn.long_term``."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.config import TemporalConfig
from tdn.kernels.excitation import excitation
from tdn.kernels.long_term_difference import long_term_difference
from tdn.long_term import LongTermTDM


class OneDirectionBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of the one direction that is left, called like that of two."""

    def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """Normalise (M, C, H, W); returns the one direction, (M, C, H, W)."""
        return (super().forward(x),)


class PartialLongTermTDM(LongTermTDM):
    """L-TDM with one of its directions, or without one or both of its conv branches.

    What is left is averaged like the whole: s over the difference and the branches, the gate over
    the directions.

    Args:
        channels: C.
        num_segments: T.
        temporal: which directions and branches it has.
    """

    def __init__(self, channels: int, num_segments: int, temporal: TemporalConfig) -> None:
        super().__init__(channels, num_segments)
        self.direction = temporal.directions
        self.branches = [b for b in ("half", "full") if temporal.branches in ("both", b)]
        for branch in {"half", "full"} - set(self.branches):
            delattr(self, f"{branch}_conv")
            delattr(self, f"{branch}_norm")
        if self.direction != "both":
            for name in ("expand", *self.branches):
                norm = getattr(self, f"{name}_norm")
                setattr(self, f"{name}_norm", OneDirectionBatchNorm2d(norm.num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Excite features (N*T, C, H, W), H and W at least 2."""
        d = self._differences(self.reduce_norm(self.reduce(x)))
        parts = [d]
        if "half" in self.branches:
            half = torch.cat(self.half_norm(self.half_conv(F.avg_pool2d(d, 2))))
            parts.append(F.interpolate(half, size=d.shape[2:], mode="nearest"))
        if "full" in self.branches:
            parts.append(torch.cat(self.full_norm(self.full_conv(d))))
        s = functools.reduce(torch.add, parts) / len(parts)
        maps = self.expand_norm(self.expand(s))
        return excitation(x, maps[0], maps[-1])  # one direction counts for both

    def _differences(self, f: Tensor) -> Tensor:
        """Those of the directions that are left, one after the other along the images."""
        both = long_term_difference(f, self.smooth(f), self.num_segments)
        if self.direction == "both":
            return both
        to_next, to_previous = both.unflatten(0, (2, -1))
        return to_next if self.direction == "next" else to_previous


def make_long_term_tdm(channels: int, num_segments: int, temporal: TemporalConfig) -> LongTermTDM:
    """The L-TDM that the details ask for: the whole one, unless parts are left out."""
    if temporal.directions == temporal.branches == "both":
        return LongTermTDM(channels, num_segments)
    return PartialLongTermTDM(channels, num_segments, temporal)
