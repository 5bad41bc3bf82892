"""What an optimizer has accumulated, by the names of parameters.

torch numbers parameters by their place in the groups. Names stay right when the groups become
others, as by other multipliers or frozen batch norms in a resumed run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def named_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """The optimizer's state dict with names instead of numbers."""
    saved = optimizer.state_dict()
    names = _names(optimizer, model)
    return {
        "state": {names[number]: state for number, state in saved["state"].items()},
        "param_groups": [
            {**group, "params": [names[number] for number in group["params"]]}
            for group in saved["param_groups"]
        ],
    }


def restore_named_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, saved: dict[str, Any]
) -> None:
    """Put an optimizer where ``named_state`` found it.

    Settings such as weight decay stay those it was made with; only what has been accumulated comes
    from the saved state, and parameters that are not in it start anew.
    """
    names = _names(optimizer, model)
    own = optimizer.state_dict()
    groups = own["param_groups"]
    former = saved["param_groups"][0]
    if "step" in former:  # LAMB and Apex count their steps in the groups
        groups = [{**group, "step": former["step"]} for group in groups]
    found = {
        number: saved["state"][name] for number, name in names.items() if name in saved["state"]
    }
    optimizer.load_state_dict({"state": own["state"] | found, "param_groups": groups})
    _lay_out(optimizer)


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Bring what was saved into the memory layout of its parameter, which another device may have.

    Fused optimizers on a CPU take for granted that both are the same.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _names(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[int, str]:
    """The names of the parameters by torch's numbers."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    pairs = zip(optimizer.param_groups, optimizer.state_dict()["param_groups"], strict=True)
    return {
        number: names[id(parameter)]
        for group, numbered in pairs
        for parameter, number in zip(group["params"], numbered["params"], strict=True)
    }
