from __future__ import annotations

import pytest
import torch

from tdn.errors import UserError
from tdn.training.precision import choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_auto_takes_what_the_device_computes_in(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert choose_precision("auto", GPU).name == ("bf16" if has_bf16 else "fp16")
    assert choose_precision("auto", CPU).name == "fp32"


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(UserError, match=r"training\.precision"):
        choose_precision("bf16", GPU)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_products_run_in_the_precision(name, dtype):
    with choose_precision(name, CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_only_fp16_scales_the_loss():
    loss = torch.ones(())
    scales = {
        name: choose_precision(name, CPU).scaler().scale(loss).item() > 1
        for name in ("fp32", "bf16", "fp16")
    }
    assert scales == {"fp32": False, "bf16": False, "fp16": True}
