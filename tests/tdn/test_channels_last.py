"""Images lie channels_last from the stem to the head, and their gradients on the way back.

The clips are large enough for L-TDM's smallest maps to have more than one pixel: a single one fits
either layout.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tdn import create_model
from tdn.models import VARIANTS

T, CLIPS = 3, 2
CLIPS_IN = {
    "uint8": torch.randint(0, 256, (CLIPS, T, 5, 97, 104, 3), dtype=torch.uint8),
    "float": torch.randn(CLIPS, T, 5, 3, 97, 104),
}


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class Watch(TorchDispatchMode):
    """Notes every operation that gives images another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.other: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for x in tree_leaves(result):
                if (
                    isinstance(x, Tensor)
                    and x.dim() == 4
                    and x.shape[0] in (CLIPS * T, 2 * CLIPS * T)
                ):
                    self.seen += 1
                    if not is_channels_last(x):
                        self.other.append(f"{func} {tuple(x.shape)} {x.stride()}")
        return result


def network(name, layout):
    torch.manual_seed(0)
    model = create_model(name, num_classes=5, num_segments=T, width=16)
    return model.to(memory_format=layout)


@pytest.mark.parametrize("clips", CLIPS_IN.values(), ids=CLIPS_IN)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backbone", ["resnet10", "resnet50"])
def test_every_module_hands_on_channels_last_both_ways(backbone, training, clips):
    model = network(f"tdn_{backbone}", torch.channels_last).train(training)
    forward, backward, other = set(), set(), []

    def watch(x, name, names):
        names.add(name)
        if not is_channels_last(x):
            other.append(f"{name} {tuple(x.shape)} {x.stride()}")

    def hook(name):
        def see(module, given, result):
            for x in tree_leaves((given, result)):
                if isinstance(x, Tensor) and x.dim() == 4:
                    watch(x, name, forward)
                    if x.requires_grad:
                        x.register_hook(lambda grad: watch(grad, name, backward))

        return see

    for name, module in model.named_modules():
        module.register_forward_hook(hook(name))
    F.cross_entropy(model(clips), torch.tensor([0, 3])).backward()
    assert other == []
    images = {name for name, _ in model.named_modules() if name} - {"dropout", "classifier"}
    assert forward == backward == images
    assert all(is_channels_last(p.grad) for p in model.parameters() if p.dim() == 4)


@pytest.mark.parametrize("name", [f"{variant}_resnet10" for variant in VARIANTS])
def test_no_operation_makes_another_layout(name):
    with Watch() as watch:
        model = network(name, torch.channels_last)
        F.cross_entropy(model(CLIPS_IN["uint8"]), torch.tensor([0, 3])).backward()
    assert watch.seen > 50
    assert watch.other == []


def test_the_watch_sees_a_fallback():
    with Watch() as watch:
        x = torch.randn(CLIPS * T, 4, 5, 5).contiguous(memory_format=torch.channels_last)
        x.mean(dim=(2, 3), keepdim=True)
        x.contiguous()
    assert len(watch.other) == 2  # randn and contiguous
