"""Updates that are not made where the numbers have left the finite: ``training.non_finite skip``.

Whether an update is made is decided on the device, by the norm of the gradients, and nobody waits
for it. That norm is the same on all processes: a loss that is no number on one of them makes its
gradients NaN, and so those that all processes average.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class UpdateGuard:
    """Stands between the gradients of a step and the weights.

    Running statistics have taken in a step's clips before anybody knows; they are put back.

    Args:
        model: The network, on its device.
        optimizer: Over its parameters.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        kinds = {buffer.dtype for buffer in model.buffers()}
        self._copies = [
            _Copies([buffer for buffer in model.buffers() if buffer.dtype == kind])
            for kind in sorted(kinds, key=str)
        ]

    def begin(self) -> None:
        """A step begins: remember the running statistics."""
        for copies in self._copies:
            copies.take()

    def marked(self, loss: Tensor) -> Tensor:
        """The loss, () float32; one that is not finite is made to give gradients that are not.

        That of a probability of zero, for example, has finite ones.
        """
        return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)

    @torch.no_grad()
    def step(self, norm: Tensor, scaler: torch.amp.GradScaler) -> None:
        """Make the update, or put back what the step has changed.

        Args:
            norm: (), of the gradients.
            scaler: Where it is in use, it leaves out the update by itself.
        """
        finite = norm.isfinite()
        if scaler.is_enabled():
            scaler.step(self._optimizer)
        elif getattr(self._optimizer, "_step_supports_amp_scaling", False):
            self._optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self._optimizer.step()
        elif finite:  # Apex decides in Python, which waits for the device
            self._optimizer.step()
        for copies in self._copies:
            copies.put_back_unless(finite)


class _Copies:
    """Tensors of one type and their former values, moved in a few operations for all."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = tensors
        sizes = [tensor.numel() for tensor in tensors]
        self._former, self._present = (tensors[0].new_empty(sum(sizes)) for _ in range(2))
        self._formers, self._presents = (
            [part.view_as(t) for part, t in zip(flat.split(sizes), tensors, strict=True)]
            for flat in (self._former, self._present)
        )

    @torch.no_grad()
    def take(self) -> None:
        torch._foreach_copy_(self._formers, self._tensors)

    def put_back_unless(self, keep: Tensor) -> None:
        torch._foreach_copy_(self._presents, self._tensors)
        torch.where(keep, self._present, self._former, out=self._present)
        torch._foreach_copy_(self._tensors, self._presents)
