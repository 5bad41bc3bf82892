"""Counting what would make Python wait for the device.

torch's "meta" device stands in for a GPU: its tensors have shapes and no values, so whatever asks
for a value is noticed. What is counted is what ``torch.cuda.set_sync_debug_mode`` tells of on a
GPU: reading a value (item, tolist, a condition), results whose shape depends on values (nonzero,
masks), and copies from or to the device, unless they are ``non_blocking`` and to it.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
ATEN = torch.ops.aten
READING = {
    ATEN._local_scalar_dense.default, ATEN.equal.default, ATEN.allclose.default,
    ATEN.is_nonzero.default,
}  # fmt: skip
SHAPED_BY_VALUES = {
    ATEN.nonzero.default, ATEN.masked_select.default, ATEN._unique2.default,
    ATEN.unique_dim.default, ATEN.bincount.default, ATEN.repeat_interleave.Tensor,
}  # fmt: skip


class Synchronisations(TorchDispatchMode):
    """A context; ``found`` has a line for each, with where in the code it was."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._creations = _Creations(self._note)

    def __enter__(self) -> Synchronisations:
        self._creations.__enter__()
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._creations.__exit__(kind, error, trace)

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(tensor.device == DEVICE for tensor in given) and not _moves(kwargs):
            return operator(*args, **kwargs)
        kind = _kind(operator, given, args, kwargs)
        if kind is not None:
            self._note(kind)
        if kind in ("value", "shape", "to the CPU") or operator.__name__.startswith("_fused_"):
            # There are no values: go on with the result for tensors of ones.
            args, kwargs = tree_map_only(Tensor, _ones, (args, kwargs))
            result = operator(*args, **kwargs)
            return tree_map_only(Tensor, _on_device, result) if kind == "shape" else result
        return operator(*args, **kwargs)

    def _note(self, kind: str) -> None:
        frames = traceback.extract_stack()
        own = [f for f in frames if "/torch/" not in f.filename and f.filename != __file__]
        self.found.append(f"{kind} at {own[-1].filename}:{own[-1].lineno} {own[-1].line}")


class _Creations(TorchFunctionMode):
    """torch.tensor(..., device=...) makes a tensor on the CPU and copies it, unseen below."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        made = function in (torch.tensor, torch.as_tensor, torch.asarray)
        if made and _moves(kwargs) and not isinstance(args[0], Tensor):
            self._note("to the device")
        return function(*args, **kwargs)


class Strict:
    """The same on a GPU, as torch itself notices it there."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._warnings = warnings.catch_warnings(record=True)
        self._seen: list[warnings.WarningMessage] = []

    def __enter__(self) -> Strict:
        self._seen = self._warnings.__enter__() or []
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        return self

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")
        self._warnings.__exit__()
        told = [w for w in self._seen if "synchronizing CUDA operation" in str(w.message)]
        self.found += [f"{w.filename}:{w.lineno} {w.message}" for w in told]


def _kind(operator: Any, given: list[Tensor], args: Any, kwargs: dict[str, Any]) -> str | None:
    """How an operation makes Python wait for the device; None if it does not."""
    if operator in READING:
        return "value"
    if operator in SHAPED_BY_VALUES:
        return "shape"
    if operator is ATEN.index.Tensor:
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return "shape"
        return "to the device" if any(i.device != args[0].device for i in indices) else None
    if operator is ATEN._to_copy.default:
        source, target = given[0].device, torch.device(kwargs.get("device") or given[0].device)
        non_blocking = kwargs.get("non_blocking", False)
    elif operator is ATEN.copy_.default:
        source, target = args[1].device, args[0].device
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    else:
        return None
    if source == target or (non_blocking and target == DEVICE):
        return None
    return "to the device" if target == DEVICE else "to the CPU"


def _moves(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE


def _ones(tensor: Tensor) -> Tensor:
    return torch.ones(tensor.shape, dtype=tensor.dtype)


def _on_device(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)
