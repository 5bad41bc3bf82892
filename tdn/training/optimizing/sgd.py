"""SGD on a CPU for weights in channels_last."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim.sgd import sgd


class ChannelsLastSGD(torch.optim.SGD):
    """torch's fused SGD, which is shown the weights in the order in which they lie in memory.

    On a CPU that of torch 2.13 copies each gradient that is not contiguous, and then does without
    the copy: for a ResNet-50 in channels_last half of the update's time, and a wrong update where
    a gradient lies otherwise than its weight. Permuted, all are contiguous; a gradient that lies
    otherwise is copied.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make an update, after calling ``closure``, if there is one; gives what that gave."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            gradients = [parameter.grad for parameter in trained]
            momenta = [self.state[parameter].get("momentum_buffer") for parameter in trained]
            sgd(
                list(_in_memory_order(trained, trained)),
                [each.contiguous() for each in _in_memory_order(gradients, trained)],
                list(_in_memory_order(momenta, trained)) if group["momentum"] else momenta,
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                fused=True,
                grad_scale=getattr(self, "grad_scale", None),
                found_inf=getattr(self, "found_inf", None),
            )
        return loss


def lay_out_gradients(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Before a step of torch's other fused optimizers on a CPU, which err in the same way."""
    for group in optimizer.param_groups:
        trained = [parameter for parameter in group["params"] if parameter.grad is not None]
        gradients = _in_memory_order([parameter.grad for parameter in trained], trained)
        for parameter, gradient in zip(trained, gradients, strict=True):
            if not gradient.is_contiguous():
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)


def _in_memory_order(tensors: list[Tensor], models: list[Tensor]) -> Iterator[Tensor]:
    """Views whose last dimension is the one that lies densest in the models."""
    for tensor, model in zip(tensors, models, strict=True):
        if model.is_contiguous():
            yield tensor
        else:
            yield tensor.permute(sorted(range(model.dim()), key=model.stride, reverse=True))
