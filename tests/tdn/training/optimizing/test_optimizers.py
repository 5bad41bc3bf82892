"""Which optimizer is made, and when Apex is taken.

Apex needs a GPU to run, so packages made on the spot stand in for it and for the other program of
that name: they are found and imported as real ones are. What they stand in for is the choice, not
the update.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tdn.config import OptimizerConfig
from tdn.errors import UserError
from tdn.training.optimizing.optimizers import apex_obstacle, create_optimizer

CPU, GPU = torch.device("cpu"), torch.device("cuda")

NVIDIA = {
    "apex/__init__.py": "",
    "apex/optimizers/__init__.py": (
        "import torch\n"
        "class FusedSGD(torch.optim.SGD):\n"
        "    def __init__(self, params, lr, momentum=0.0, dampening=0.0, weight_decay=0.0):\n"
        "        super().__init__(params, lr, momentum, dampening, weight_decay)\n"
        "class FusedAdam(torch.optim.AdamW):\n"
        "    def __init__(self, params, lr, betas, adam_w_mode, weight_decay):\n"
        "        assert adam_w_mode\n"
        "        super().__init__(params, lr, betas, weight_decay=weight_decay)\n"
        "class FusedLAMB(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr, betas, eps, weight_decay, max_grad_norm, use_nvlamb):\n"
        "        assert (eps, max_grad_norm, use_nvlamb) == (1e-6, float('inf'), True)\n"
        "        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))\n"
    ),
    "amp_C.py": "",
}
PYRAMID = {
    "apex/__init__.py": "from pyramid.session import UnencryptedCookieSessionFactoryConfig\n",
    "apex/lib/__init__.py": "",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts packages on the path; forgets them afterwards."""

    def forget() -> None:
        for name in [n for n in sys.modules if n.split(".")[0] in ("apex", "amp_C")]:
            del sys.modules[name]

    def put(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield put
    forget()


def parameters(dtype: torch.dtype = torch.float32) -> list[tuple[str, nn.Parameter]]:
    return [("one", nn.Parameter(torch.ones(3, dtype=dtype))), ("two", nn.Parameter(torch.ones(2)))]


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_auto_takes_apex_where_it_is_built_and_fits(install, name):
    install(NVIDIA)
    made = create_optimizer(OptimizerConfig(name=name), parameters(), GPU)
    assert made.backend == "apex"
    assert type(made.optimizer).__module__ == "apex.optimizers"
    assert made.optimizer.param_groups[0]["weight_decay"] == OptimizerConfig().weight_decay


def without(name: str) -> dict[str, str]:
    return {path: text for path, text in NVIDIA.items() if path != name}


@pytest.mark.parametrize(
    ("files", "device", "dtype", "reason"),
    [
        (NVIDIA, CPU, torch.float32, "GPU"),
        (NVIDIA, GPU, torch.bfloat16, "bfloat16"),
        (NVIDIA, GPU, torch.float64, "float64"),
        ({}, GPU, torch.float32, "not installed"),
        (PYRAMID, GPU, torch.float32, "another program"),
        (without("amp_C.py"), GPU, torch.float32, "amp_C"),
        (NVIDIA | {"apex/optimizers/__init__.py": ""}, GPU, torch.float32, "FusedSGD"),
    ],
)
def test_without_any_one_condition_auto_takes_torch_and_apex_says_why(
    install, files, device, dtype, reason
):
    install(files)
    assert create_optimizer(OptimizerConfig(), parameters(dtype), device).backend == "torch"
    with pytest.raises(UserError, match=reason) as error:
        create_optimizer(OptimizerConfig(backend="apex"), parameters(dtype), device)
    assert "optimizer.backend" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_apex_without_the_optimizer_that_is_wanted_is_not_taken(install):
    older = NVIDIA["apex/optimizers/__init__.py"].replace("FusedLAMB", "OtherLAMB")
    install(NVIDIA | {"apex/optimizers/__init__.py": older})
    config = OptimizerConfig(name="lamb")
    assert create_optimizer(config, parameters(), GPU).backend == "torch"
    assert "FusedLAMB" in (apex_obstacle("lamb", GPU, {torch.float32}) or "")
    assert apex_obstacle("adamw", GPU, {torch.float32}) is None


def test_frozen_parameters_do_not_decide(install):
    install(NVIDIA)
    frozen = nn.Parameter(torch.ones(2, dtype=torch.bfloat16), requires_grad=False)
    made = create_optimizer(OptimizerConfig(), [*parameters(), ("frozen", frozen)], GPU)
    assert made.backend == "apex"
    assert all(p is not frozen for p in made.optimizer.param_groups[0]["params"])


def test_fp16_parameters_fit_apex(install):
    install(NVIDIA)
    assert apex_obstacle("sgd", GPU, {torch.float16, torch.float32}) is None


def test_torch_is_taken_when_asked_for(install):
    install(NVIDIA)
    assert create_optimizer(OptimizerConfig(backend="torch"), parameters(), GPU).backend == "torch"


def test_sgd_is_the_published_one():
    config = OptimizerConfig(lr=0.3, momentum=0.8, weight_decay=0.02)
    groups = create_optimizer(config, parameters(), CPU).optimizer.param_groups
    assert len(groups) == 1
    expected = {"lr": 0.3, "momentum": 0.8, "weight_decay": 0.02, "nesterov": False, "dampening": 0}
    assert {key: groups[0][key] for key in expected} == expected


def test_adamw_decays_weights_apart_from_the_gradient():
    config = OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.5)
    made = create_optimizer(config, parameters(), CPU)
    for parameter in made.optimizer.param_groups[0]["params"]:
        parameter.grad = torch.zeros_like(parameter)
    made.optimizer.step()
    for parameter in made.optimizer.param_groups[0]["params"]:
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, 0.95))
