"""L-TDM, the temporal conv and whole networks by kernels, against eager PyTorch in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tdn import create_model
from tdn.kernels import backend
from tdn.long_term import LongTermTDM
from tdn.long_term_kernels import has_kernels, mix_over_time
from tdn.temporal_conv import TemporalConv
from tests.kernels.agreement import DEVICE
from tests.kernels.images import LAYOUTS, images

T = 3


def modules(channels=32, training=True, seed=0):
    """An L-TDM and a temporal conv with random weights and statistics."""
    torch.manual_seed(seed)
    long_term, temporal_conv = LongTermTDM(channels, T), TemporalConv(channels, T)
    for parameter in (*long_term.parameters(), *temporal_conv.parameters()):
        nn.init.normal_(parameter, std=0.5)
    for norm in long_term.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return nn.ModuleList([long_term.train(training), temporal_conv]).to(DEVICE)


def outcome(pair, x, which, autocast=None):
    """Result, gradients and buffers of a training step's part, by name."""
    pair, x = copy.deepcopy(pair), x.detach().clone().requires_grad_()
    long_term, temporal_conv = pair
    with backend.using(which), torch.autocast(DEVICE, autocast, enabled=autocast is not None):
        out = mix_over_time(long_term, temporal_conv, x)
    grad = images(*out.shape, seed=5).to(out)
    out.backward(grad)
    found = {name: p.grad for name, p in pair.named_parameters() if p.grad is not None}
    return found | {"out": out.detach(), "x": x.grad} | dict(pair.named_buffers())


def assert_agree(found, expected, bound):
    assert found.keys() == expected.keys()
    # A bias before a batch norm has a gradient of rounding errors: hence the floor.
    floor = 1e-3 * max(v.double().norm() for v in expected.values())
    for name, value in expected.items():
        value = value.double()
        error = (found[name].double() - value).norm() / value.norm().clamp(min=floor)
        assert error < bound, f"{name}: {error:.1e}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("side", [7, 10])
def test_block(layout, training, side):
    pair = modules(training=training)
    x = images(2 * T, 32, side, side, layout=layout).to(DEVICE)
    expected = outcome(copy.deepcopy(pair).double(), x, "reference")
    found = outcome(pair, x.float(), "triton")
    assert_agree(found, expected, 2e-5)
    assert found["out"].is_contiguous(memory_format=layout)
    assert found["x"].is_contiguous(memory_format=layout)


def test_block_under_autocast():
    pair = modules(64)
    x = images(4 * T, 64, 8, 8, layout=torch.channels_last).to(DEVICE, torch.bfloat16)
    expected = outcome(copy.deepcopy(pair).double(), x.double(), "reference")
    kernels = outcome(pair, x, "triton", autocast=torch.bfloat16)
    eager = outcome(pair, x, "reference", autocast=torch.bfloat16)
    assert kernels["out"].dtype == torch.bfloat16
    for name, value in expected.items():
        if value.is_floating_point() and value.norm() > 1e-6:
            errors = [(v[name].double() - value).norm() / value.norm() for v in (kernels, eager)]
            assert errors[0] < max(1.5 * errors[1], 0.01), f"{name}: {errors}"


def test_a_direction_counts_after_the_other():
    long_term, temporal_conv = modules()
    x = images(2 * T, 32, 6, 6).to(DEVICE, torch.float32)
    with backend.using("triton"):
        mix_over_time(long_term, temporal_conv, x)
    assert long_term.reduce_norm.num_batches_tracked == 1
    for norm in (long_term.half_norm, long_term.full_norm, long_term.expand_norm):
        assert norm.num_batches_tracked == 2


def test_frozen_batch_norms_keep_their_statistics():
    pair = modules()
    for module in pair.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    before = {name: value.clone() for name, value in pair.named_buffers()}
    x = images(2 * T, 32, 6, 6)
    found = outcome(pair, x.to(DEVICE, torch.float32), "triton")
    assert_agree(found, outcome(copy.deepcopy(pair).double(), x.to(DEVICE), "reference"), 2e-5)
    for name, value in before.items():
        assert found[name].equal(value)


def test_a_mixture_of_frozen_and_training_batch_norms():
    pair = modules()
    pair[0].reduce_norm.eval()
    x = images(2 * T, 32, 6, 6).to(DEVICE)
    expected = outcome(copy.deepcopy(pair).double(), x, "reference")
    assert_agree(outcome(pair, x.float(), "triton"), expected, 2e-5)
    pair[0].half_norm.eval()
    with backend.using("triton"):
        assert not has_kernels(pair[0], x.float())  # left to eager PyTorch
    expected = outcome(copy.deepcopy(pair).double(), x, "reference")
    assert_agree(outcome(pair, x.float(), "triton"), expected, 2e-5)


@pytest.mark.parametrize("watched", ["0", "1", "0.expand_norm", "0.smooth"])
@pytest.mark.parametrize(
    "kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_a_hook_is_called(watched, kind):
    pair = modules()
    x = images(2 * T, 32, 6, 6).to(DEVICE, torch.float32)
    expected = outcome(pair, x, "triton")["out"]
    seen = []
    getattr(pair.get_submodule(watched), kind)(lambda *given: seen.append(given) and None)
    with backend.using("triton"):
        found = mix_over_time(*pair, x.requires_grad_())
        found.sum().backward()
    assert seen
    torch.testing.assert_close(found, expected)


def test_other_batch_norms_are_not_taken_for_ours():
    long_term, _ = modules()
    x = torch.zeros(2 * T, 32, 6, 6, device=DEVICE)
    with backend.using("triton"):
        assert has_kernels(long_term, x)
        assert not has_kernels(nn.SyncBatchNorm.convert_sync_batchnorm(long_term), x)
        assert not has_kernels(modules()[0].half(), x.half())


def test_exported_networks_have_no_kernels():
    """They run where the kernels are not; the number of clips stays open."""
    pair = modules(training=False)
    x = images(2 * T, 32, 6, 6).to(DEVICE, torch.float32)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = pair

        def forward(self, clips):
            return mix_over_time(*self.pair, clips.flatten(0, 1))

    clips = torch.export.Dim("clips", min=1)
    with backend.using("triton"):
        program = torch.export.export(
            Block(), (x.unflatten(0, (-1, T)),), dynamic_shapes={"clips": {0: clips}}
        )
    assert not any("tdn" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(
        program.module()(x.unflatten(0, (-1, T))), outcome(pair, x, "reference")["out"]
    )


def test_compiles_as_one_graph():
    long_term, temporal_conv = modules()
    x = images(2 * T, 32, 6, 6, layout=torch.channels_last).to(DEVICE, torch.float32)

    def call(x):
        return mix_over_time(long_term, temporal_conv, x)

    with backend.using("triton"):
        found = torch.compile(call, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(found, call(x))
    assert long_term.expand_norm.num_batches_tracked == 4


@pytest.mark.parametrize("name", ["tdn_resnet10", "tdms_resnet10", "tconv_resnet10"])
def test_a_training_step_of_a_network(name):
    """All operations together, from uint8 clips to the state after a step."""
    torch.manual_seed(1)
    model = create_model(name, num_classes=4, num_segments=T, width=16, dropout=0.0)
    model.to(DEVICE, memory_format=torch.channels_last)
    clips = torch.randint(0, 256, (2, T, 5, 40, 48, 3), dtype=torch.uint8, device=DEVICE)
    found, expected = (
        step(copy.deepcopy(model).to(dtype), clips, which)
        for dtype, which in ((torch.float32, "triton"), (torch.float64, "reference"))
    )
    assert_agree(found, expected, 1e-3)


def step(model, clips, which):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    with backend.using(which):
        loss = F.cross_entropy(model(clips), torch.tensor([3, 1], device=DEVICE))
        loss.backward()
    gradients = {f"gradient {n}": p.grad for n, p in model.named_parameters()}
    optimizer.step()
    return {"loss": loss.detach(), **gradients, **model.state_dict()}
