"""One process that is its own group; that two are as one is in ``test_distributed``."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from tdn.ablations import OneDirectionBatchNorm2d
from tdn.kernels.backend import using
from tdn.long_term import DirectionalBatchNorm2d
from tdn.training.extras.synced_norms import SyncedBatchNorm, synchronise_norms
from tests.tdn.training.real_network import real_batch, real_network


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def drawn(norm: nn.Module) -> nn.Module:
    """The norm with parameters and statistics that are not 0 and 1."""
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    return norm


@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 0.04)]
)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.BatchNorm1d, (7, 5)),
        (nn.BatchNorm2d, (3, 5, 4, 6)),
        (OneDirectionBatchNorm2d, (3, 5, 4, 6)),
        (DirectionalBatchNorm2d, (4, 5, 4, 6)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_alone_it_is_torch_s(group, kind, shape, dtype, close, layout):
    own = torch.float64 if dtype == torch.float64 else torch.float32
    norm = drawn(kind(5).to(own))
    ours = copy.deepcopy(norm)
    synchronise_norms(ours)
    x = torch.randn(shape).add(3).to(dtype)
    if x.dim() == 4:
        x = x.to(memory_format=layout)
    results = []
    for module in (norm, ours):
        given = x.clone().requires_grad_()
        out = module(given)
        assert isinstance(out, tuple) == (kind not in (nn.BatchNorm1d, nn.BatchNorm2d))
        out = torch.cat(out) if isinstance(out, tuple) else out
        torch.manual_seed(2)
        out.backward(torch.randn_like(out))
        assert out.dtype == given.grad.dtype == dtype
        results.append([out, given.grad, module.weight.grad, module.bias.grad, *module.buffers()])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=close, atol=close)
    if x.dim() == 4:
        assert results[1][1].is_contiguous(memory_format=layout)


def test_what_a_network_is_known_by_stays(group):
    """Names, tensors, the result in evaluation mode; frozen batch norms, epoch after epoch."""
    model = real_network()
    model.freeze_batch_norms()
    before = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    clips = real_batch(np.arange(3)).clips
    expected = model.eval()(clips)
    model.train()
    synchronise_norms(model)
    assert list(model.state_dict()) == list(before[1])
    assert all(p is before[0][name] for name, p in model.named_parameters())
    assert torch.equal(model.eval()(clips), expected)
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.training for norm in norms] == [True] + [False] * (len(norms) - 1)
    assert [isinstance(norm, SyncedBatchNorm) for norm in norms] == [
        norm.training for norm in norms
    ]


def test_kernels_leave_synchronised_statistics_to_eager_pytorch(group, monkeypatch):
    """They would take the statistics of this process alone."""
    model = real_network()
    synchronise_norms(model)
    called = []
    monkeypatch.setattr(
        "tdn.long_term_kernels.long_term_by_kernels", lambda *_, **__: called.append(1)
    )
    with using("triton"):
        model(real_batch(np.arange(2)).clips)
    assert not called
