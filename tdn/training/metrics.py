"""Top-k accuracy and mean loss as sums that stay on the device until somebody asks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tdn.training.processes.distributed import Processes


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


TOP5_FROM = 6
"""Classes from which on top-5 is told: of fewer it is always 100 %."""


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


_HELD = 32
"""Batches whose hits are found together: one by one, that is a dozen small operations each."""


class Tally:
    """Sums of loss and top-k hits over batches, kept on the device: adding never waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._clips_and_hits = torch.zeros(3, dtype=torch.float64, device=device)
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []
        """Scores, labels, and whether the clips count."""
        self._counts = torch.ones((), dtype=torch.bool, device=device)

    @torch.no_grad()
    def add(
        self, mean_loss: Tensor, scores: Tensor, labels: Tensor, counts: Tensor | None = None
    ) -> None:
        """Count a batch.

        Args:
            mean_loss: (), the batch's mean loss.
            scores: (N, classes), logits; not to be changed until they are read.
            labels: (N,), int64; likewise.
            counts: (), bool, on the device: whether the batch counts at all.
        """
        # The sum of the losses depends on their order in its last bits, so they are added at once.
        loss = mean_loss if counts is None else torch.where(counts, mean_loss, 0)
        self._loss.add_(loss, alpha=len(labels))
        counts = self._counts if counts is None else counts
        self._held.append((scores, labels, counts.expand(len(labels))))
        if len(self._held) == _HELD:
            self._count_held()

    @torch.no_grad()
    def _count_held(self) -> None:
        if not self._held:
            return
        scores, labels, counts = (torch.cat(parts) for parts in zip(*self._held, strict=True))
        self._held.clear()
        ranks = label_ranks(scores.float(), labels)
        self._clips_and_hits += (counts & torch.stack((ranks >= 0, ranks < 1, ranks < 5))).sum(1)

    def _sums(self) -> Tensor:
        """Clips, loss, top-1 and top-5 hits: (4,), float64."""
        self._count_held()
        clips, *hits = self._clips_and_hits
        return torch.stack((clips, self._loss, *hits))

    def unread(self) -> list[float]:
        """This process's sums so far, to be kept in a checkpoint; waits for the device."""
        return self._sums().tolist()

    def restore(self, sums: list[list[float]], processes: Processes) -> None:
        """Begin with what every process of a former session had in ``unread``.

        With another number of processes the main one takes them all.
        """
        if len(sums) == processes.world_size:
            own = sums[processes.rank]
        else:
            own = [sum(column) if processes.is_main else 0.0 for column in zip(*sums, strict=True)]
        clips, loss, *hits = torch.tensor(own, dtype=torch.float64)
        self._loss.copy_(loss)
        self._clips_and_hits.copy_(torch.stack((clips, *hits)))

    def read(self, processes: Processes) -> Summary:
        """The sums over all processes, which must all call this; begins anew.

        This waits for the device.
        """
        clips, loss, top1, top5 = processes.sum(self._sums()).tolist()
        self._loss.zero_()
        self._clips_and_hits.zero_()
        means = [each / clips if clips else math.nan for each in (loss, 100 * top1, 100 * top5)]
        return Summary(int(clips), *means)
