"""A batch norm, as the operations take it that have one inside."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class Norm(NamedTuple):
    """What a batch norm normalises R channels by, and its weights."""

    mean: Tensor
    """(R,), float32; or a row for each direction where these have statistics of their own."""
    variance: Tensor
    """Like the mean; biased where it is that of the batch."""
    weight: Tensor
    """(R,), of any floating-point type, as is the bias."""
    bias: Tensor
    eps: float

    def normalise(self, x: Tensor, batch_statistics: bool) -> Tensor:
        """What it makes of x (M, R, H, W), in eager PyTorch.

        Args:
            x: of any floating-point type.
            batch_statistics: take those of x, and not the norm's.
        """
        mean, variance = (None, None) if batch_statistics else (self.mean, self.variance)
        return F.batch_norm(
            x, mean, variance, self.weight, self.bias, batch_statistics, eps=self.eps
        )
