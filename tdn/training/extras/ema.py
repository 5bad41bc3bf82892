"""An exponential moving average of the network: weights and running statistics, after each update.

    average = average + (1 - d) (network - average),    d = min(decay, (1 + n) / (10 + n))

with n the updates before, so that a short run does not keep remembering the weights it began with.
The average is what is validated and tested; training itself does not look at it.
"""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import nn


class WeightAverage:
    """The average of a network over its updates.

    Args:
        model: The network, on its device; the average starts as it is.
        decay: d after the first updates, above 0 and below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        """The network with averaged weights and running statistics."""
        self._ours, self._theirs = (
            [tensor for tensor in chain(m.parameters(), m.buffers()) if tensor.is_floating_point()]
            for m in (self.module, model)
        )
        self._our_counts, self._their_counts = (
            [buffer for buffer in m.buffers() if not buffer.is_floating_point()]
            for m in (self.module, model)
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network as it is after an update.

        Args:
            step: The update's number in the run, from 0.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._ours, self._theirs, 1 - decay)
        if self._our_counts:  # batches seen by each batch norm
            torch._foreach_copy_(self._our_counts, self._their_counts)
