"""SGD for weights in channels_last makes the update that torch's makes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tdn.config import OptimizerConfig
from tdn.training.optimizing.optimizer_state import named_state, restore_named_state
from tdn.training.optimizing.optimizers import BETAS, create_optimizer
from tdn.training.optimizing.sgd import ChannelsLastSGD

LAYOUTS = (torch.channels_last, torch.contiguous_format)
SHAPES = ((4, 3, 3, 3), (6, 5, 1, 1), (3, 1, 3), (7,))


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def trained(weights, layout, steps, create, *, gradients=None, skip=None):
    """Weights after steps with gradients of their own, of which one may have none.

    Args:
        gradients: Their layout, if it is not that of the weights.
    """
    parameters = [nn.Parameter(_laid(weight, layout)) for weight in weights]
    optimizer = create([(str(index), each) for index, each in enumerate(parameters)])
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for index, parameter in enumerate(parameters):
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if index == skip else _laid(gradient, gradients or layout)
        optimizer.step()
    return [parameter.detach() for parameter in parameters], optimizer


def _laid(x, layout):
    return x.clone(memory_format=layout) if x.dim() == 4 else x.clone()


def ours(parameters):
    config = OptimizerConfig(lr=0.1, momentum=0.8, weight_decay=0.05)
    made = create_optimizer(config, parameters, torch.device("cpu"))
    assert isinstance(made.optimizer, ChannelsLastSGD)
    return made.optimizer


def others(name):
    """What else a run on a CPU has, and its textbook."""
    kind, settings = {
        "sgd": (torch.optim.SGD, {"momentum": 0.0}),
        "adamw": (torch.optim.AdamW, {"betas": BETAS}),
    }[name]
    config = OptimizerConfig(name=name, lr=0.1, momentum=0.0, weight_decay=0.05)

    def run(parameters):
        return create_optimizer(config, parameters, torch.device("cpu")).optimizer

    def plain(parameters):
        weights = [each for _, each in parameters]
        return kind(weights, 0.1, weight_decay=0.05, foreach=False, fused=False, **settings)

    return run, plain


def textbook(parameters):
    return torch.optim.SGD(
        [each for _, each in parameters], 0.1, 0.8, weight_decay=0.05, foreach=False
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradients", LAYOUTS)
@pytest.mark.parametrize("skip", [None, 0])
def test_its_updates_are_those_of_the_textbook(weights, layout, gradients, skip):
    found, _ = trained(weights, layout, 3, ours, gradients=gradients, skip=skip)
    expected, _ = trained(weights, torch.contiguous_format, 3, textbook, skip=skip)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradients", LAYOUTS)
def test_so_are_those_without_momentum_and_of_adamw(weights, name, layout, gradients):
    run, plain = others(name)
    found, _ = trained(weights, layout, 3, run, gradients=gradients)
    expected, _ = trained(weights, torch.contiguous_format, 3, plain)
    torch.testing.assert_close(found, expected)


def test_the_momentum_stays_with_its_weight(weights):
    _, optimizer = trained(weights, torch.channels_last, 2, ours)
    parameters = optimizer.param_groups[0]["params"]
    assert set(optimizer.state) == set(parameters)
    for parameter in parameters:
        momentum = optimizer.state[parameter]["momentum_buffer"]
        assert momentum.shape == parameter.shape
        assert momentum.stride() == parameter.stride()


def test_an_update_that_is_called_off_changes_nothing(weights):
    before, optimizer = trained(weights, torch.channels_last, 0, ours)
    before = [each.clone() for each in before]
    optimizer.found_inf = torch.ones(())
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for parameter, former in zip(optimizer.param_groups[0]["params"], before, strict=True):
        assert torch.equal(parameter, former)


def test_no_gradient_is_copied(weights):
    _, optimizer = trained(weights, torch.channels_last, 1, ours)
    with torch.profiler.profile() as profile:
        optimizer.step()
    assert not {"aten::copy_", "aten::clone"} & {event.name for event in profile.events()}


def test_a_closure_is_called_with_gradients_on(weights):
    _, optimizer = trained(weights, torch.channels_last, 1, ours)
    assert optimizer.step(lambda: 3.0 if torch.is_grad_enabled() else 0.0) == 3.0


def test_a_momentum_that_was_saved_in_another_layout_goes_on_as_if_it_were_its_own():
    """A checkpoint may come from a device on which weights lie otherwise."""

    def network(layout):
        torch.manual_seed(0)
        return nn.Conv2d(3, 4, 3).to(memory_format=layout)

    def step(model, optimizer):
        model(torch.ones(2, 3, 8, 8)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    there, here = network(torch.channels_last), network(torch.contiguous_format)
    one, other = ours(there.named_parameters()), ours(here.named_parameters())
    step(there, one)
    here.load_state_dict(there.state_dict())
    restore_named_state(other, here, named_state(one, there))
    for model, optimizer in ((there, one), (here, other)):
        step(model, optimizer)
    torch.testing.assert_close(here.weight, there.weight)
