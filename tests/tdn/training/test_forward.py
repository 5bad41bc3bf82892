from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tdn.errors import UserError
from tdn.training.forward import predict
from tdn.training.precision import choose_precision
from tests.tdn.synthetic import make_batch

CPU = torch.device("cpu")


class Hungry(nn.Module):
    """Needs more memory than there is for more than so many clips."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.asked: list[int] = []

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(clips))
        if len(clips) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return clips.flatten(1).float()[:, :3]


@pytest.mark.parametrize(
    ("most", "asked"),
    [
        (8, [8, 8, 3]),
        (7, [8, 4, 4, 4, 4, 3]),
        (3, [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]),
    ],
)
def test_a_batch_that_does_not_fit_is_divided_from_then_on(most, asked):
    batches = [
        make_batch(list(range(start, start + size))) for start, size in ((0, 8), (8, 8), (16, 3))
    ]
    model = Hungry(most)
    found = [logits for _, logits in predict(model, batches, choose_precision("fp32", CPU), CPU)]
    assert model.asked == asked
    for batch, logits in zip(batches, found, strict=True):
        assert torch.equal(logits, batch.clips.flatten(1).float()[:, :3])


def test_not_even_one_clip_fits():
    with pytest.raises(UserError, match="evaluation"):
        list(predict(Hungry(0), [make_batch(np.arange(2))], choose_precision("fp32", CPU), CPU))
