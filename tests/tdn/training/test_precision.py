from __future__ import annotations

from collections.abc import Callable, Iterator

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


@pytest.fixture
def tf32() -> Iterator[Callable[[], tuple[str, bool]]]:
    """What torch is set to for matrix products and convs; afterwards as it was."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield lambda: (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_only_tf32_rounds_the_products_of_fp32(monkeypatch, tf32):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    for name in ("tf32", "fp32", "tf32", "auto"):
        precision = choose_precision(name, GPU)
        assert tf32() == (("high", True) if name == "tf32" else ("highest", False))
        assert (precision.name == "tf32") == (name == "tf32")


@pytest.mark.parametrize("device", [CPU, GPU])
def test_tf32_is_refused_where_there_is_none(monkeypatch, device, tf32):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: False)
    before = tf32()
    with pytest.raises(UserError, match=r"training\.precision.*use fp32"):
        choose_precision("tf32", device)
    assert tf32() == before


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
