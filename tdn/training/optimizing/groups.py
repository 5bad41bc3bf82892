"""Parts of the network with other learning rates and weight decay: ``optimizer.multipliers``.

The released code declares such multipliers, but nothing applies them; so by default there is one
group. Fine-tuning wants them: a new classifier learns faster than what was pretrained.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from torch import nn

from tdn.config import OptimizerConfig
from tdn.errors import UserError

MULTIPLIER = "lr_multiplier"
"""Key of a parameter group: what its learning rate is multiplied by."""

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def parameter_groups(config: OptimizerConfig, parameters: NamedParameters) -> list[dict[str, Any]]:
    """The trainable parameters as groups for an optimizer.

    Args:
        config: ``lr``, ``weight_decay`` and ``multipliers``: factors by the name of a module or a
            parameter. Of several names that a parameter is under, the longest counts.
        parameters: All of the network, by name.

    Returns:
        Groups in the order of their first parameter, each with its rate and decay, the factor of
        its rate under ``MULTIPLIER``, and under "name" that of the module; "" for the rest.

    Raises:
        UserError: There is no part of that name, or nothing to train in it.
    """
    everything = dict(parameters)
    for name in config.multipliers:
        _check_part(name, everything)
    groups: dict[str, dict[str, Any]] = {}
    for parameter_name, parameter in everything.items():
        if not parameter.requires_grad:
            continue
        above = [name for name in config.multipliers if _is_under(parameter_name, name)]
        name = max(above, key=len, default="")
        if name not in groups:
            groups[name] = _group(config, name)
        groups[name]["params"].append(parameter)
    return list(groups.values())


def _group(config: OptimizerConfig, name: str) -> dict[str, Any]:
    factors = config.multipliers.get(name, {})
    rate, decay = (factors.get(key, 1.0) for key in ("lr", "weight_decay"))
    return {
        "params": [],
        "name": name,
        MULTIPLIER: rate,
        "lr": config.lr * rate,
        "weight_decay": config.weight_decay * decay,
    }


def _is_under(parameter: str, part: str) -> bool:
    return parameter == part or parameter.startswith(part + ".")


def _check_part(name: str, parameters: dict[str, nn.Parameter]) -> None:
    inside = [found for found in parameters if _is_under(found, name)]
    if not inside:
        parts = {
            ".".join(words[:count])
            for words in (found.split(".") for found in parameters)
            for count in range(1, len(words) + 1)
        }
        near = difflib.get_close_matches(name, sorted(parts), n=1, cutoff=0)
        raise UserError(
            f"optimizer.multipliers: the network has no part '{name}'; did you mean '{near[0]}'?"
        )
    if not any(parameters[found].requires_grad for found in inside):
        raise UserError(
            f"optimizer.multipliers: '{name}' is frozen by model.partial_bn; leave it out"
        )
