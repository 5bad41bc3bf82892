"""TDN: Temporal Difference Networks (CVPR 2021) on an NVIDIA DALI pipeline with Triton kernels.

The names below are the public interface. They are imported on first use, so that ``import
tdn`` and ``tdn --help`` do not wait for torch or DALI.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "UserError",
    "__version__",
    "create_loader",
    "create_model",
    "list_models",
    "load_checkpoint",
]

if TYPE_CHECKING:
    from tdn.checkpoint import load_checkpoint
    from tdn.errors import UserError
    from tdn.models import create_model, list_models
    from tdn.pipelines.loader import create_loader

_HOMES = {
    "UserError": "tdn.errors",
    "create_loader": "tdn.pipelines.loader",
    "create_model": "tdn.models",
    "list_models": "tdn.models",
    "load_checkpoint": "tdn.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
