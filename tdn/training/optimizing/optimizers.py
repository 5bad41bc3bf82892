"""SGD, AdamW and LAMB, run by torch or, where it is built and fits, by NVIDIA Apex.

What they change is in groups (``groups``): by default in one, biases and batch norm
included, as the released code trains.

Apex needs care. What pip installs as ``apex`` is another program, and without its compiled part
(``amp_C``) NVIDIA's imports but cannot be used. Its fused SGD passes over bf16 parameters without a
word. So each condition is tested before Apex is taken.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from tdn.config import OptimizerConfig
from tdn.errors import UserError
from tdn.training.optimizing import lamb
from tdn.training.optimizing.groups import NamedParameters, parameter_groups
from tdn.training.optimizing.lamb import Lamb
from tdn.training.optimizing.sgd import ChannelsLastSGD, lay_out_gradients

BETAS = (0.9, 0.999)
"""AdamW's decay rates (Loshchilov and Hutter 2019)."""

_BUILD = (
    "build it in a clone of https://github.com/NVIDIA/apex with 'APEX_CPP_EXT=1 APEX_CUDA_EXT=1 "
    "pip install -v --no-build-isolation .', or use optimizer.backend torch"
)
_APEX_CLASSES = {"sgd": "FusedSGD", "adamw": "FusedAdam", "lamb": "FusedLAMB"}
_APEX_DTYPES = {torch.float32, torch.float16}

Groups = list[dict[str, Any]]


class OptimizerAndBackend(NamedTuple):
    """An optimizer and who runs it."""

    optimizer: torch.optim.Optimizer
    backend: str
    """torch or apex."""


def create_optimizer(
    config: OptimizerConfig, parameters: NamedParameters, device: torch.device
) -> OptimizerAndBackend:
    """The optimizer of a run.

    Args:
        config: ``optimizer``.
        parameters: Those of the network, by name; it changes the trainable ones.
        device: Where they are.

    Raises:
        UserError: ``optimizer.backend`` is apex and Apex cannot be used, or
            ``optimizer.multipliers`` names a part that is not there; says why.
    """
    groups = parameter_groups(config, parameters)
    obstacle = None
    if config.backend != "torch":
        dtypes = {parameter.dtype for group in groups for parameter in group["params"]}
        obstacle = apex_obstacle(config.name, device, dtypes)
    if config.backend == "apex" and obstacle is not None:
        raise UserError(f"optimizer.backend: apex, but {obstacle}")
    if config.backend == "torch" or obstacle is not None:
        return OptimizerAndBackend(_torch_optimizer(config, groups, device), "torch")
    return OptimizerAndBackend(_apex_optimizer(config, groups), "apex")


def _torch_optimizer(
    config: OptimizerConfig, groups: Groups, device: torch.device
) -> torch.optim.Optimizer:
    if config.name == "adamw":
        adamw = torch.optim.AdamW(
            groups, config.lr, BETAS, weight_decay=config.weight_decay, fused=True
        )
        if device.type == "cpu":
            adamw.register_step_pre_hook(lay_out_gradients)
        return adamw
    if config.name == "lamb":
        return Lamb(groups, config.lr, config.weight_decay)
    sgd = (ChannelsLastSGD if device.type == "cpu" else torch.optim.SGD)(
        groups, config.lr, config.momentum, weight_decay=config.weight_decay, fused=True
    )
    if config.momentum:
        # As it would begin by itself, except where the first update is left out: there it would
        # keep memory that nobody wrote (torch 2.13).
        for group in sgd.param_groups:
            for parameter in group["params"]:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def _apex_optimizer(config: OptimizerConfig, groups: Groups) -> torch.optim.Optimizer:
    kind = getattr(importlib.import_module("apex.optimizers"), _APEX_CLASSES[config.name])
    settings: dict[str, dict[str, Any]] = {
        "sgd": {"momentum": config.momentum},
        "adamw": {"betas": BETAS, "adam_w_mode": True},
        # Gradients are clipped before, for all optimizers alike; and the ratio of the norms holds
        # for parameters without weight decay too, as in the paper.
        "lamb": {
            "betas": lamb.BETAS,
            "eps": lamb.EPSILON,
            "max_grad_norm": math.inf,
            "use_nvlamb": True,
        },
    }
    optimizer: torch.optim.Optimizer = kind(
        groups, lr=config.lr, weight_decay=config.weight_decay, **settings[config.name]
    )
    return optimizer


def apex_obstacle(name: str, device: torch.device, dtypes: set[torch.dtype]) -> str | None:
    """Why Apex cannot run an optimizer, with the remedy; None when it can.

    Args:
        name: sgd, adamw or lamb.
        device: Where the parameters are.
        dtypes: The types of the trainable parameters.
    """
    if device.type != "cuda":
        return "it runs on a GPU only; use optimizer.backend torch"
    if not dtypes <= _APEX_DTYPES:
        others = ", ".join(sorted(str(dtype) for dtype in dtypes - _APEX_DTYPES))
        return f"it never updates {others} parameters; use optimizer.backend torch"
    apex = importlib.util.find_spec("apex")
    if apex is None:
        return f"it is not installed (and 'pip install apex' is another program); {_BUILD}"
    if not _has_optimizers(apex.submodule_search_locations or []):
        return (
            "the installed 'apex' is another program of that name (a Pyramid toolkit), "
            f"not NVIDIA's; 'pip uninstall apex', then {_BUILD}"
        )
    if _import("amp_C") is None:
        return f"it was installed without its CUDA extensions (no amp_C); {_BUILD}"
    if not hasattr(_import("apex.optimizers"), _APEX_CLASSES[name]):
        return f"the installed version has no {_APEX_CLASSES[name]}; {_BUILD}"
    return None


def _has_optimizers(locations: Iterable[str]) -> bool:
    """Whether a package is NVIDIA's; looked up as a file, as the other program fails to import."""
    return any(Path(location, "optimizers").exists() for location in locations)


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
