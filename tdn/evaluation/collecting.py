"""Putting a test's scores together, view by view, while the network runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tdn.evaluation.scores import Scores

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


class Collector:
    """Collects views until all of a video's are there.

    Args:
        views: Views per video.
    """

    def __init__(self, views: int) -> None:
        self._views = views
        self._pending: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def add(self, batch: Batch, logits: Tensor) -> None:
        """Take a batch; its logits stay on the device, as copying them now would wait for it."""
        self._pending.append((batch.indices, batch.labels, batch.views, logits))

    def take(self) -> Scores | None:
        """The videos that became complete since the last time; None without any views."""
        if not self._pending:
            return None
        columns = zip(*self._pending, strict=True)
        indices, labels, views, logits = (torch.cat(column).cpu() for column in columns)
        found = Scores.of_views(
            indices.numpy(), labels.numpy(), views.numpy(), logits.numpy(), self._views
        )
        rest = torch.from_numpy(~np.isin(indices.numpy(), found.indices))
        left = (
            indices[rest],
            labels[rest],
            views[rest],
            logits[rest].to(self._pending[-1][3].device),
        )
        self._pending = [left] if len(left[0]) else []
        return found
