"""LAMB: Adam whose step is as long as each layer's weights, for very large batches.

You et al. 2020, "Large Batch Optimization for Deep Learning", algorithm 2, with decoupled weight
decay lambda and phi the identity; for every parameter x with gradient g, in step t from 1:

    m = b1 m + (1 - b1) g,    v = b2 v + (1 - b2) g^2
    r = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
    u = r + lambda x
    x = x - lr |x| / |u| u

Where |x| or |u| is zero, their ratio is taken as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-6
"""The paper's (section 4)."""


class Lamb(torch.optim.Optimizer):
    """Runs on all parameters of a group at once and never waits for the device.

    Args:
        parameters: Parameters, or groups of them.
        lr: Learning rate.
        weight_decay: lambda.
    """

    _step_supports_amp_scaling = True
    """For GradScaler: ``found_inf``, which it sets, is looked at on the device."""

    def __init__(self, parameters: Iterable[Any], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the weights by their gradients; not at all where ``found_inf`` is set and true."""
        del closure  # part of torch's interface; nothing here calls the network again
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                group["step"] = group.get("step", 0) + 1
                self._update(parameters, group, getattr(self, "found_inf", None))

    def _update(
        self, parameters: list[Tensor], group: dict[str, Any], overflow: Tensor | None
    ) -> None:
        means, squares = self._moments(parameters, overflow)
        (beta1, beta2), step = BETAS, group["step"]
        scales = torch._foreach_div(squares, 1 - beta2**step)
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, EPSILON)
        updates = torch._foreach_div(means, 1 - beta1**step)
        torch._foreach_div_(updates, scales)
        torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])

        weight = torch.stack(torch._foreach_norm(parameters))
        length = torch.stack(torch._foreach_norm(updates))
        rates = torch.where((weight > 0) & (length > 0), weight / length, 1) * group["lr"]
        if overflow is not None:
            rates = torch.where(overflow > 0, 0, rates)
        torch._foreach_mul_(updates, list(rates.unbind()))
        torch._foreach_sub_(parameters, updates)

    def _moments(
        self, parameters: list[Tensor], overflow: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """m and v, moved on by the gradients unless these overflowed."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")
                }
        means = [self.state[parameter]["exp_avg"] for parameter in parameters]
        squares = [self.state[parameter]["exp_avg_sq"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        new_squares = torch._foreach_mul(gradients, gradients)
        if overflow is not None:  # towards themselves: they stay
            gradients = [
                torch.where(overflow > 0, m, g) for m, g in zip(means, gradients, strict=True)
            ]
            new_squares = tuple(
                torch.where(overflow > 0, v, s) for v, s in zip(squares, new_squares, strict=True)
            )
        torch._foreach_lerp_(means, gradients, 1 - BETAS[0])
        torch._foreach_lerp_(squares, new_squares, 1 - BETAS[1])
        return means, squares
