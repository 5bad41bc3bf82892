"""What a network looks at: class activation maps, and the responses of its temporal modules.

Grad-CAM (Selvaraju et al., ICCV 2017), by segment, as in the paper's figure of activation maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn.long_term import LongTermTDM
from tdn.network import Network
from tdn.short_term import ShortTermTDM

LAYERS = ("stage1", "stage2", "stage3", "stage4")
"""Feature maps that a class activation map can be made of; the paper's are the last stage's."""


class ActivationMap(NamedTuple):
    """Where a network finds a class."""

    heat: npt.NDArray[np.float32]
    """(T, H, W) of the clip's size, 0 to 1: 1 is the strongest place of all segments."""
    label: int
    probability: float
    """Of the class, 0 to 1."""


def activation_map(
    model: Network, clip: Tensor, label: int | None = None, layer: str = "stage4"
) -> ActivationMap:
    """Grad-CAM of a clip.

    Args:
        model: In evaluation mode.
        clip: (1, T, 5, H, W, 3) uint8, on the network's device.
        label: The class to explain; by default the most probable one.
        layer: Of ``LAYERS``.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        kept.append(output)

    stage = model.get_submodule(layer)
    with _hooked([(stage, keep)]), torch.enable_grad():
        logits = model(clip)[0]
        chosen = int(logits.argmax()) if label is None else label
        (gradient,) = torch.autograd.grad(logits[chosen], kept)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = F.relu((weights * kept[0]).sum(dim=1).detach())
    probability = float(logits.detach().softmax(0)[chosen])
    return ActivationMap(_shown(heat, clip), chosen, probability)


def temporal_responses(model: Network, clip: Tensor) -> dict[str, npt.NDArray[np.float32]]:
    """How strongly the temporal modules respond.

    Of S-TDM, the mean magnitude of its features; of L-TDM, that of what it adds to the features in
    the last block of a stage.

    Args:
        model: In evaluation mode.
        clip: (1, T, 5, H, W, 3) uint8, on the network's device.

    Returns:
        By name, (T, H, W) of the clip's size, 0 to 1, for each module that the network has.
    """
    found: dict[str, Tensor] = {}

    def keep_short_term(
        _module: nn.Module, _inputs: Any, output: tuple[Tensor, Tensor | None]
    ) -> None:
        for name, features in zip(("after the stem", "after stage 1"), output, strict=True):
            if features is not None:
                found[f"S-TDM {name}"] = features.abs().mean(dim=1)

    def keep_long_term(name: str) -> Any:
        def keep(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            found[name] = (output - inputs[0]).abs().mean(dim=1)

        return keep

    hooks: list[tuple[nn.Module, Any]] = [
        (module, keep_short_term) for module in model.modules() if isinstance(module, ShortTermTDM)
    ]
    for number, name in enumerate(LAYERS, start=1):
        modules = [m for m in model.get_submodule(name).modules() if isinstance(m, LongTermTDM)]
        hooks += [(module, keep_long_term(f"L-TDM stage {number}")) for module in modules[-1:]]
    with _hooked(hooks), torch.inference_mode():
        model(clip)
    return {name: _shown(heat, clip) for name, heat in found.items()}


@contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Any]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shown(heat: Tensor, clip: Tensor) -> npt.NDArray[np.float32]:
    """(T, h, w) maps at the clip's size, the strongest place 1."""
    size = clip.shape[3:5]
    large = F.interpolate(heat[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
    values: npt.NDArray[np.float32] = (large / large.max().clamp(min=1e-12)).cpu().numpy()
    return values
