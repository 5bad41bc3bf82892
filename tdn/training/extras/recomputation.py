"""Stages that are computed twice to save memory: ``training.checkpoint_stages``.

Of such a stage only the input is kept for the backward pass, which first computes the stage again
(Chen et al. 2016). The running statistics of its batch norms move on the first time only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from tdn.network import Network


def recompute_stages(model: Network, stages: Iterable[int]) -> None:
    """Have a network compute stages twice when it learns; its names and results stay.

    Args:
        model: The network.
        stages: 1 to 4; 1 includes S-TDM's copy.
    """
    for number in stages:
        name = f"stage{number}"
        setattr(model, name, RecomputedStage(*getattr(model, name)))
    if 1 in stages and model.short_term is not None and model.short_term.stage is not None:
        blocks = cast(nn.Sequential, model.short_term.stage)
        model.short_term.stage = RecomputedStage(*blocks)


class RecomputedStage(nn.Sequential):
    """Blocks whose inner values are not kept for the backward pass, but computed again."""

    def forward(self, x: Tensor) -> Tensor:
        """What the blocks make of x."""
        if not torch.is_grad_enabled():
            return cast(Tensor, super().forward(x))
        return cast(
            Tensor,
            checkpoint(super().forward, x, use_reentrant=False, context_fn=self._contexts),
        )

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Those of the first and of the second pass."""
        return nullcontext(), self._other_statistics()

    @contextmanager
    def _other_statistics(self) -> Iterator[None]:
        """Let batch norms that learn move on tensors that nobody reads."""
        own = [
            (norm, dict(norm.named_buffers()))
            for norm in self.modules()
            if isinstance(norm, _BatchNorm) and norm.training
        ]
        for norm, buffers in own:
            for name, buffer in buffers.items():
                setattr(norm, name, torch.empty_like(buffer))
        try:
            yield
        finally:
            for norm, buffers in own:
                for name, buffer in buffers.items():
                    setattr(norm, name, buffer)
