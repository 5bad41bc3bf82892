"""Top-k accuracy and mean loss as sums that stay on the device until somebody asks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tdn.training.distributed import Processes


def label_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the label's: 0 where the prediction is right.

    Equal scores are ordered by class number, as argmax does, so that a network that says the same
    for all classes is not called right. A NaN comes before everything, so it never helps.

    Args:
        scores: (N, classes), floating point.
        labels: (N,), int64.

    Returns:
        (N,), int64.
    """
    own = scores.gather(1, labels[:, None])
    before = ~(scores <= own)  # not the same as > when there are NaNs
    classes = torch.arange(scores.shape[1], device=scores.device)
    before |= (scores == own) & (classes < labels[:, None])
    return before.sum(1)


@dataclass(frozen=True)
class Summary:
    """What a number of clips came to, over all processes."""

    clips: int
    loss: float
    """Mean over the clips."""
    top1: float
    """Percent."""
    top5: float
    """Percent; of all clips if there are fewer than six classes."""


class Tally:
    """Sums of loss and top-k hits over batches, kept on the device: adding never waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(
        self, mean_loss: Tensor, scores: Tensor, labels: Tensor, counts: Tensor | None = None
    ) -> None:
        """Count a batch.

        Args:
            mean_loss: (), the batch's mean loss.
            scores: (N, classes), logits.
            labels: (N,), int64.
            counts: (), bool, on the device: whether the batch counts at all.
        """
        ranks = label_ranks(scores.float(), labels)
        count = torch.full_like(mean_loss, len(labels), dtype=torch.float64)
        sums = torch.stack((count, mean_loss * count, (ranks < 1).sum(), (ranks < 5).sum()))
        self._sums += sums if counts is None else torch.where(counts, sums, 0)

    def unread(self) -> list[float]:
        """This process's sums so far, to be kept in a checkpoint; waits for the device."""
        return self._sums.tolist()

    def restore(self, sums: list[list[float]], processes: Processes) -> None:
        """Begin with what every process of a former session had in ``unread``.

        With another number of processes the main one takes them all.
        """
        if len(sums) == processes.world_size:
            own = sums[processes.rank]
        else:
            own = [sum(column) if processes.is_main else 0.0 for column in zip(*sums, strict=True)]
        self._sums.copy_(torch.tensor(own, dtype=torch.float64))

    def read(self, processes: Processes) -> Summary:
        """The sums over all processes, which must all call this; begins anew.

        This waits for the device.
        """
        clips, loss, top1, top5 = processes.sum(self._sums).tolist()
        self._sums.zero_()
        means = [each / clips if clips else math.nan for each in (loss, 100 * top1, 100 * top5)]
        return Summary(int(clips), *means)
