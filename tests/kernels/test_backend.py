from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from tdn.errors import UserError
from tdn.kernels import backend
from tests.kernels.agreement import DEVICE

X = torch.zeros(2, 3, device=DEVICE)


def test_the_default_is_triton_on_a_gpu_alone():
    with backend.using("auto"):
        assert backend.uses_triton(X) == X.is_cuda


def test_backends():
    with backend.using("triton"):
        assert backend.uses_triton(X)
        assert backend.uses_triton(X.to(torch.uint8))
        assert not backend.uses_triton(X.double())  # made for types that networks train in
        assert not backend.uses_triton(X.to("meta"))
        with backend.using("reference"):
            assert not backend.uses_triton(X)
        assert backend.uses_triton(X)


def test_the_backend_before_comes_back_after_an_error():
    with backend.using("reference"):
        with pytest.raises(KeyError), backend.using("triton"):
            raise KeyError
        assert not backend.uses_triton(X)


def test_an_unknown_backend():
    with backend.using("cuda"), pytest.raises(UserError, match="TDN_KERNELS"):
        backend.uses_triton(X)


def test_triton_where_it_cannot_run(monkeypatch):
    monkeypatch.setattr(backend, "INTERPRETING", False)
    with backend.using("triton"), pytest.raises(UserError, match="TDN_KERNELS"):
        backend.uses_triton(torch.zeros(2))


@pytest.mark.parametrize(
    ("value", "expected"), [("triton", True), ("reference", False), ("", False)]
)
def test_the_variable(value, expected, monkeypatch):
    """It is read when the module is imported: here once more, beside the other."""
    monkeypatch.setenv("TDN_KERNELS", value)
    spec = importlib.util.spec_from_file_location("backend_again", backend.__file__)
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, again)
    spec.loader.exec_module(again)
    assert again.uses_triton(X) == (expected or (X.is_cuda and not value))


def test_recorded_launches_are_not_made():
    x = torch.ones(4)
    with backend.recorded() as found:
        backend.launch(None, (1,), x, 3, num_warps=8, TILE=16)
    assert x.equal(torch.ones(4))
    (launch,) = found
    assert launch.arguments == (x, 3)
    assert launch.constants == {"TILE": 16}
    assert launch.options["num_warps"] == 8


def test_blocks(monkeypatch):
    monkeypatch.setattr(backend, "INTERPRETING", False)
    assert [backend.block(size, 64) for size in (1, 3, 33, 64, 65, 1000)] == [1, 4, 64, 64, 64, 64]
    monkeypatch.setattr(backend, "INTERPRETING", True)
    assert backend.block(1000, 64) == 1024
