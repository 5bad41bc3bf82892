"""The arithmetic of the network: which numbers autocast uses, and the loss scale fp16 needs."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from tdn.errors import UserError

_log = logging.getLogger(__name__)

_DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class Precision:
    """Parameters stay fp32; convolutions and matrix products run in ``dtype``."""

    name: str
    """fp32, tf32, bf16 or fp16."""
    device_type: str
    """cpu or cuda."""

    def autocast(self) -> AbstractContextManager[None]:
        """The context to run the network in."""
        dtype = _DTYPES[self.name]
        return torch.autocast(self.device_type, dtype, enabled=dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """The loss scaler: passes everything through unless the precision is fp16."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def choose_precision(name: str, device: torch.device) -> Precision:
    """What ``training.precision`` means on a device.

    Whether a GPU rounds the factors of fp32 products to TF32 is torch's setting for the whole
    program, by default for convs and not for matrix products. Here both are switched on for tf32
    and off otherwise.

    Args:
        name: auto, fp32, tf32, bf16 or fp16. auto is bf16 on a GPU that computes in it, fp16 on
            older ones, fp32 on a CPU.
        device: Where the network runs.

    Raises:
        UserError: bf16 or tf32 on a device that does not compute in it.
    """
    on_gpu = device.type == "cuda"
    has_bf16 = not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "auto":
        name = ("bf16" if has_bf16 else "fp16") if on_gpu else "fp32"
    if name == "bf16" and not has_bf16:
        raise UserError("training.precision: this GPU does not compute in bf16; use fp16 or auto")
    if name == "tf32" and not (on_gpu and torch.cuda.is_tf32_supported()):
        what = "this GPU does not compute in tf32" if on_gpu else "tf32 is for GPUs, not for a CPU"
        raise UserError(f"training.precision: {what}; use fp32 or auto")
    if name == "fp16" and not on_gpu:
        _log.warning(
            "training.precision: fp16 is emulated on a CPU, and very slow; use fp32 or auto"
        )
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    return Precision(name, device.type)
