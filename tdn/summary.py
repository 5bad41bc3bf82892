"""What a network costs: parameters, multiply-adds and memory traffic, module by module.

The network runs once on torch's meta device, which computes shapes and nothing else: no memory
and no time for any size of network.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tdn.adapter import CopiedShortTermTDM
from tdn.clip_classifier import ClipClassifier
from tdn.kernels.short_term_stem import FRAMES
from tdn.long_term import LongTermTDM
from tdn.models import is_released
from tdn.short_term import ShortTermTDM
from tdn.temporal_conv import TemporalConv

aten = torch.ops.aten
_ARITHMETIC = {aten.convolution, aten.mm, aten.addmm}
"""Operations bound by arithmetic: their traffic is not counted."""
_WITHOUT_TRAFFIC = {aten.empty, aten.empty_like, aten.new_empty, aten.empty_strided, aten.detach}
"""Operations that touch no element."""
_WRITING = {aten.copy_, aten.fill_, aten.zero_}
"""Operations that do not read what they change."""

PARTS: dict[str, tuple[type[nn.Module], ...]] = {
    "S-TDM": (ShortTermTDM, CopiedShortTermTDM),
    "L-TDM": (LongTermTDM,),
    "temporal conv": (TemporalConv,),
}
"""What TDN adds to a backbone, and the modules that are such."""


@dataclass(frozen=True)
class Cost:
    """Of one module with all that is in it, for one clip."""

    parameters: int = 0
    """Weights, biases included."""
    multiply_adds: int = 0
    """Of convs, the temporal one included, and of linear layers."""
    bytes_moved: int = 0
    """What the other operations read and write, each its inputs and its results once."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.bytes_moved + other.bytes_moved,
        )


@dataclass(frozen=True)
class Summary:
    """The costs of a network."""

    modules: dict[str, Cost]
    """By the module's name in the network, in its order; "" is the network."""
    shapes: dict[str, tuple[int, ...]]
    """Of what each module makes of the clip's T frames; of several results the first one's."""
    parts: dict[str, Cost]
    """Of all S-TDMs, L-TDMs and temporal convs, as far as it has them."""
    dead_in_released: int | None
    """Parameters that the released form of this network has and never uses; None if no such."""

    @property
    def total(self) -> Cost:
        """The network's cost."""
        return self.modules[""]


def summarise(network: ClipClassifier, height: int, width: int) -> Summary:
    """Count what a forward pass of one uint8 clip costs in evaluation mode.

    Args:
        network: made on the meta device; its floating-point type is that of the traffic.
        height: of the frames, pixels.
        width: of the frames, pixels.
    """
    clip = torch.empty(
        (1, network.num_segments, FRAMES, height, width, 3), dtype=torch.uint8, device="meta"
    )
    counter = _Counter(network)
    with torch.no_grad(), counter.attached(), counter:
        network.eval()(clip)
    modules = {
        name: counter.own[name] + _sum(counter.own[inner] for inner in _below(name, counter.own))
        for name in counter.own
    }
    parts = {}
    for part, kinds in PARTS.items():
        names = [name for name, module in network.named_modules() if isinstance(module, kinds)]
        if names:
            parts[part] = _sum(modules[name] for name in names)
    dead = modules["stem.conv"].parameters if is_released(network) else None
    return Summary(modules, counter.shapes, parts, dead)


def _sum(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


def _below(name: str, names: Iterable[str]) -> Iterator[str]:
    """The modules inside the module ``name``."""
    prefix = f"{name}." if name else ""
    return (inner for inner in names if inner != name and inner.startswith(prefix))


class _Counter(TorchDispatchMode):
    """Books every operation of a forward pass on the innermost module that is running."""

    def __init__(self, network: ClipClassifier) -> None:
        super().__init__()
        self.network = network
        self.running: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.own = {
            name: Cost(parameters=sum(p.numel() for p in module.parameters(recurse=False)))
            for name, module in network.named_modules()
        }

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Watch which modules run."""

        def leave(module: nn.Module, _: Any, output: Any) -> None:
            self._book(Cost(multiply_adds=_multiply_adds(module, output)))
            self.shapes[self.running.pop()] = tuple(tree_leaves(output)[0].shape)

        handles = []
        for name, module in self.network.named_modules():
            enter = functools.partial(lambda name, *_: self.running.append(name), name)
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if not (func.is_view or packet in _ARITHMETIC or packet in _WITHOUT_TRAFFIC):
            read = args[1:] if packet in _WRITING else args
            tensors = tree_leaves((read, kwargs, results))
            moved = sum(v.numel() * v.element_size() for v in tensors if isinstance(v, Tensor))
            self._book(Cost(bytes_moved=moved))
        return results

    def _book(self, cost: Cost) -> None:
        self.own[self.running[-1]] += cost


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    """Those of a conv or a linear layer: one for each weight that a result depends on."""
    if isinstance(module, (nn.Conv2d, nn.Linear, TemporalConv)):
        return output.numel() * module.weight[0].numel()
    return 0


def table(summary: Summary, depth: int) -> str:
    """The costs as text, down to modules whose names have ``depth`` parts."""
    shown = {
        name: cost
        for name, cost in summary.modules.items()
        if name and name.count(".") < depth and cost != Cost()
    }
    groups = [shown, {"network": summary.total}, summary.parts]
    width = max(len(name) for group in groups for name in group)
    lines = [f"{'':{width}}  {'parameters':>12}  {'multiply-adds':>13}  {'memory-bound':>12}"]
    for group in groups:
        lines += [
            f"{name:{width}}  {cost.parameters:12,}  {cost.multiply_adds / 1e9:11.2f} G  "
            f"{cost.bytes_moved / 1e6:9,.1f} MB"
            for name, cost in group.items()
        ] + [""]
    dead = summary.dead_in_released
    if dead is not None:
        theirs = summary.total.parameters + dead
        lines.append(
            f"A checkpoint of the released code has {theirs:,} parameters, {dead:,} more:\n"
            "those of a conv that no forward pass uses (conv1_temp)."
        )
    return "\n".join(lines).rstrip()
