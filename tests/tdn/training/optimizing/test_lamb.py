from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tdn.training.optimizing.lamb import Lamb

SHAPES = [(4, 3, 3), (5,), (7,)]


def draw(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) * 10.0**i for i, shape in enumerate(SHAPES)]


def as_parameters(values: list[np.ndarray], dtype: torch.dtype) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(value, dtype=dtype)) for value in values]


def give(parameters: list[nn.Parameter], gradients: list[np.ndarray]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=parameter.dtype)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_update_is_the_paper_s(dtype, close, weight_decay):
    """Algorithm 2 of You et al., line by line; the last parameter starts at zero."""
    values = draw(0)
    values[2][:] = 0
    parameters = as_parameters(values, dtype)
    optimizer = Lamb(parameters, lr=1.0, weight_decay=weight_decay)
    m, v = ([np.zeros(shape) for shape in SHAPES] for _ in range(2))
    for t, rate in enumerate((0.1, 0.02, 0.5), start=1):
        gradients = draw(t)
        for i, (x, g) in enumerate(zip(values, gradients, strict=True)):
            m[i] = 0.9 * m[i] + (1 - 0.9) * g
            v[i] = 0.999 * v[i] + (1 - 0.999) * g**2
            r = (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-6)
            u = r + weight_decay * x
            ratio = np.linalg.norm(x) / np.linalg.norm(u) if np.any(x) else 1.0
            values[i] = x - rate * ratio * u
        give(parameters, gradients)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    for parameter, value in zip(parameters, values, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=close, atol=close)


def test_weights_do_not_move_where_nothing_pulls_at_them():
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(2))]
    optimizer = Lamb(parameters, lr=1.0, weight_decay=0.0)
    parameters[0].grad = torch.zeros(3)
    optimizer.step()
    assert [p.tolist() for p in parameters] == [[0, 0, 0], [1, 1]]


def test_groups_have_their_own_rate_and_decay():
    values = draw(0)
    together = as_parameters(values, torch.float64)
    groups = [
        {"params": together[:1], "lr": 0.1, "weight_decay": 0.5},
        {"params": together[1:], "lr": 0.0},
    ]
    optimizer = Lamb(groups, lr=1.0, weight_decay=0.0)
    alone = as_parameters(values[:1], torch.float64)
    other = Lamb(alone, lr=0.1, weight_decay=0.5)
    for step in range(3):
        give(together, draw(step))
        give(alone, draw(step)[:1])
        optimizer.step()
        other.step()
    assert torch.equal(together[0], alone[0])
    for parameter, value in zip(together[1:], values[1:], strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), value)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_gradients_that_overflowed_change_nothing(bad):
    """As GradScaler tells it: without the host looking at the flag."""
    parameters = as_parameters(draw(0), torch.float32)
    optimizer = Lamb(parameters, lr=0.1, weight_decay=0.3)
    give(parameters, draw(1))
    optimizer.step()
    kept = [
        [p.detach().clone(), *map(torch.clone, optimizer.state[p].values())] for p in parameters
    ]

    gradients = draw(2)
    gradients[1][2] = bad
    give(parameters, gradients)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    for parameter, before in zip(parameters, kept, strict=True):
        now = [parameter.detach(), *optimizer.state[parameter].values()]
        assert len(now) == 3
        assert all(torch.equal(a, b) for a, b in zip(now, before, strict=True))

    optimizer.found_inf = torch.tensor(0.0)
    give(parameters, draw(2))
    optimizer.step()
    assert all(not torch.equal(p.detach(), b[0]) for p, b in zip(parameters, kept, strict=True))


def test_a_loss_scaler_skips_a_step_and_goes_on():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Lamb([parameter], lr=0.1, weight_decay=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    for pull, moves in ((np.inf, False), (1.0, True)):
        before = parameter.detach().clone()
        scaler.scale((parameter * pull).sum()).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert torch.equal(parameter.detach(), before) != moves
    assert scaler.get_scale() == 2.0**7
