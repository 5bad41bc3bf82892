"""Weights from files: the released checkpoints, torchvision's ImageNet ResNets, and our own.

A file is read whole and compared with the network before the network is touched, so that a
refused checkpoint leaves it as it was. No code in a file is ever run.
"""

from __future__ import annotations

import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tdn.errors import UserError
from tdn.network import Network
from tdn.short_term import inflated
from tdn.upstream_keys import (
    DEAD,
    HEAD_WITH_DROPOUT,
    HEAD_WITHOUT_DROPOUT,
    name_of_upstream,
    torchvision_key,
    upstream_key,
)

OWN = "a checkpoint of this package"
UPSTREAM = "a checkpoint of the released code"
TORCHVISION = "an ImageNet ResNet of torchvision"

AVERAGED = "ema"
"""Where our own checkpoints have averaged weights."""
DDP_PREFIX = "module."
"""What DistributedDataParallel puts before every key."""
HEAD = ("classifier.weight", "classifier.bias")
UPSTREAM_HEADS = (HEAD_WITH_DROPOUT, HEAD_WITHOUT_DROPOUT)
SHORT_TERM_CONV = "short_term.conv.weight"


@dataclass(frozen=True)
class LoadReport:
    """What ``load_checkpoint`` did."""

    path: Path
    """The file."""
    format: str
    """What it is: OWN, UPSTREAM or TORCHVISION."""
    loaded: tuple[str, ...]
    """Our names of the tensors that now hold the file's values."""
    skipped: tuple[str, ...]
    """The file's names of the tensors that nothing was taken from."""
    left_initial: tuple[str, ...]
    """Our names of the tensors that keep the value they had."""
    classes: tuple[str, ...] = ()
    """Names of the classes it was trained on, where a run of ours had names."""
    averaged: bool = False
    """Whether these are weights that training averaged."""

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.format}; loaded {_tensors(len(self.loaded))}"
            f"{' of averaged weights' if self.averaged else ''}, "
            f"skipped {_listing(self.skipped)}, left as initialised {_listing(self.left_initial)}"
        )


@dataclass(frozen=True)
class _Match:
    """A file's tensors, sorted by what is to become of them."""

    values: dict[str, Tensor]
    """By our names: what the network is to hold."""
    skipped: tuple[str, ...] = ()
    """Names in the file of what is not needed."""
    foreign: tuple[str, ...] = ()
    """Names in the file of what should have a place in the network and has none."""
    missing: tuple[str, ...] = ()
    """Our names of what the file should have and has not."""


def load_checkpoint(
    model: nn.Module, path: str | os.PathLike[str], *, new_head: bool = False, raw: bool = False
) -> LoadReport:
    """Load a network's weights from a file.

    Three formats are recognised by the names in the file:

    - a checkpoint of the released code, with or without DistributedDataParallel's prefix;
    - a ResNet trained on ImageNet by torchvision, which initialises the ResNet and S-TDM's stage
      1, and S-TDM's conv from the mean colour of the stem's; its classifier is not used;
    - our own: what training writes, or a bare state dict.

    Args:
        model: a network of ``create_model`` or of ``tdn.adapter.adapt``, which only our own fit;
            changed in place, not at all if the file is refused.
        path: the file, as ``torch.save`` wrote it.
        new_head: do not take the file's classifier, to fine-tune on other classes.
        raw: take the weights of the last step even where training has averaged them too
            (``training.ema``); otherwise the averaged ones.

    Returns:
        What was loaded, skipped, and left at its initial value.

    Raises:
        UserError: the file is missing, damaged, no checkpoint, or does not fit the network.
    """
    path = Path(path)
    tensors, content, part = read_weights(path, raw=raw)
    own = model.state_dict()
    kind = OWN if tensors.keys() == own.keys() else recognise(tensors, path)
    if kind == TORCHVISION:
        match = _match_torchvision(tensors, own)
    else:
        match = _match_all(tensors, own, upstream=kind == UPSTREAM, new_head=new_head)
    _check_fit(match, own, path)
    values = dict(match.values)
    if kind == TORCHVISION and SHORT_TERM_CONV in own:
        values[SHORT_TERM_CONV] = inflated(values["stem.conv.weight"])
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)
    if isinstance(model, Network):
        heads = [head for head in UPSTREAM_HEADS if f"{head}.weight" in tensors]
        model.upstream_head = heads[0] if heads and not new_head else None
    left_initial = tuple(name for name in own if name not in values)
    classes = tuple(map(str, content.get("classes", ()))) if kind == OWN and not new_head else ()
    return LoadReport(
        path, kind, tuple(values), match.skipped, left_initial, classes, averaged=part == AVERAGED
    )


def export_upstream(model: Network, *, head: str | None = None) -> dict[str, Tensor]:
    """The network's state under the released code's keys, in its order, prefix included.

    Saved as ``{"state_dict": export_upstream(model)}`` it loads strictly in the released code,
    which also wants the weights of a conv that it never uses (conv1_temp): they are zero, whatever
    a loaded checkpoint had there. Otherwise a checkpoint of the released code that was loaded is
    given back, key by key and bit by bit. The tensors share memory with the network's.

    Args:
        model: the network.
        head: where the released code is to find the classifier: "new_fc", as it has it when it
            is run with dropout, or "base_model.fc", without. None: where the checkpoint of the
            released code had it that ``load_checkpoint`` loaded last; if none, as the network's
            own dropout has it.

    Raises:
        UserError: there is no such head.
    """
    if head is None:
        by_dropout = HEAD_WITH_DROPOUT if model.dropout.p > 0 else HEAD_WITHOUT_DROPOUT
        head = model.upstream_head or by_dropout
    if head not in UPSTREAM_HEADS:
        raise UserError(f"head: {head!r} does not fit; give one of {', '.join(UPSTREAM_HEADS)}")
    exported: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name == SHORT_TERM_CONV:
            for dead in ("weight", "bias"):
                stem = model.get_parameter(f"stem.conv.{dead}")
                exported[f"{DDP_PREFIX}{DEAD}.{dead}"] = torch.zeros_like(stem.detach())
        key = f"{head}.{name.split('.')[-1]}" if name in HEAD else upstream_key(name)
        exported[DDP_PREFIX + key] = value
    return exported


def read_content(path: Path) -> Any:
    """What ``torch.save`` wrote to a file: tensors and plain containers, never code.

    Raises:
        UserError: The file is missing, damaged, or holds other objects.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the path of a checkpoint in it")
    if not path.exists():
        raise UserError(f"{path}: there is no such file; give the path of a checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused a moment later
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"{path}: not readable; change its permissions") from error
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower() or not _is_pickle(path):
            raise UserError(_unreadable(path)) from error
        raise UserError(
            f"{path}: holds Python objects besides tensors, which could run code; "
            "save its state dict alone with torch.save and give that file"
        ) from error
    except Exception as error:  # whatever the readers of three formats make of foreign bytes
        raise UserError(_unreadable(path)) from error


def read_weights(path: Path, *, raw: bool = False) -> tuple[dict[str, Tensor], Any, str | None]:
    """A file's weights.

    Args:
        path: the file.
        raw: as ``load_checkpoint``.

    Returns:
        The tensors by name; the file's whole content; under which of its keys they are, None if
        it holds nothing else.

    Raises:
        UserError: as ``read_content``, or there are no weights in it.
    """
    content = read_content(path)
    part = _weights_of(content, raw)
    return _state_dict(content if part is None else content[part], path), content, part


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as ``torch.save`` writes it; text can look like pickled code."""
    with path.open("rb") as file:
        return file.read(2).startswith((b"\x80", b"PK"))


def _unreadable(path: Path) -> str:
    return f"{path}: damaged, or not a PyTorch checkpoint; download or copy it again"


def _weights_of(content: Any, raw: bool) -> str | None:
    """Under which key a checkpoint has the weights that are wanted; None if it is only these."""
    for key in ("state_dict", *(() if raw else (AVERAGED,)), "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return key
    return None


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, without DistributedDataParallel's prefix."""
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: holds no state dict; give a file with a network's weights")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: {name!r} is no tensor; give a file with a state dict")
    return {name.removeprefix(DDP_PREFIX): value for name, value in content.items()}


def recognise(tensors: dict[str, Tensor], path: Path) -> str:
    """Which of the three formats has these names: OWN, UPSTREAM or TORCHVISION.

    Raises:
        UserError: none of them.
    """
    marks = {OWN: "stem.conv.weight", UPSTREAM: "base_model.conv1.weight"}
    marks[TORCHVISION] = "conv1.weight"
    for kind, mark in marks.items():
        if mark in tensors:
            return kind
    raise UserError(
        f"{path}: begins with {next(iter(tensors))}, which no known network has; "
        f"give {OWN}, {UPSTREAM} or {TORCHVISION}"
    )


def _match_all(
    tensors: dict[str, Tensor], own: dict[str, Tensor], *, upstream: bool, new_head: bool
) -> _Match:
    """Match a TDN's checkpoint, which must have all that the network has and nothing else."""
    values, skipped, foreign = {}, [], []
    for key, value in tensors.items():
        name = name_of_upstream(key) if upstream else key
        if key.startswith(f"{DEAD}.") or (new_head and name in HEAD):
            skipped.append(key)
        elif name in own:
            values[name] = value
        else:
            foreign.append(key)
    optional = HEAD if new_head else ()
    missing = tuple(name for name in own if name not in values and name not in optional)
    return _Match(values, tuple(skipped), tuple(foreign), missing)


def _match_torchvision(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> _Match:
    """Match an ImageNet ResNet, which must have what a ResNet of the network's shape has."""
    keys = {name: key for name in own if (key := torchvision_key(name))}
    values = {name: tensors[key] for name, key in keys.items() if key in tensors}
    skipped = tuple(key for key in tensors if key.startswith("fc."))
    foreign = tuple(key for key in tensors if key not in {*keys.values(), *skipped})
    missing = tuple(
        name
        for name in keys
        if name not in values and not name.endswith("num_batches_tracked")  # older files lack it
    )
    return _Match(values, skipped, foreign, missing)


def _check_fit(match: _Match, own: dict[str, Tensor], path: Path) -> None:
    """Refuse a file whose names or shapes are not those of the network."""
    shapes = {
        name: f"{name} is {_form(value)} there and {_form(own[name])} here"
        for name, value in match.values.items()
        if value.shape != own[name].shape
        or value.is_floating_point() != own[name].is_floating_point()
    }
    if set(shapes) == set(HEAD) and not match.foreign and not match.missing:
        theirs, ours = len(match.values[HEAD[1]]), len(own[HEAD[1]])
        raise UserError(
            f"{path}: {theirs} classes there, {ours} in the network; create it with "
            f"num_classes={theirs}, or train a new classifier with new_head=True "
            "(model.new_head in a configuration)"
        )
    problems = [
        *(f"{name} is not in the file" for name in match.missing),
        *(f"{key} is only in the file" for key in match.foreign),
        *shapes.values(),
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"{path}: does not fit the network: {'; '.join(problems[:3])}{more}; create the model "
            "by the name, num_classes and width that the checkpoint was made with"
        )


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _tensors(count: int) -> str:
    return f"{count} tensor{'' if count == 1 else 's'}"


def _listing(names: tuple[str, ...]) -> str:
    """How many tensors, and the first of them by name."""
    if not names:
        return "none"
    shown = ", ".join(names[:3])
    return f"{_tensors(len(names))} ({shown}{', ...' if len(names) > 3 else ''})"
