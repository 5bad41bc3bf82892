from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness.literal_tdn import LiteralTDN
from tdn import UserError, create_model
from tdn.checkpoint import export_upstream
from tdn.clip_classifier import Ideas
from tdn.kernels.short_term_stem import MEAN, STD
from tdn.network import Backbone, Network
from tdn.resnet import BasicBlock, Bottleneck
from tdn.upstream_keys import upstream_key

ALL = Ideas(short_term=True, long_term=True, temporal_conv=True)
SHAPES = {
    "basic": Backbone(BasicBlock, (1, 1, 1, 1)),
    "bottleneck": Backbone(Bottleneck, (1, 2, 1, 2)),
}


def uint8_clips(n=2, t=3, height=48, width=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (n, t, 5, height, width, 3), generator=generator, dtype=torch.uint8
    )


def normalised(clips, dtype=torch.float32):
    mean, std = (torch.tensor(v, dtype=dtype) for v in (MEAN, STD))
    return ((clips.to(dtype) / 255 - mean) / std).permute(0, 1, 2, 5, 3, 4).contiguous()


def small(t=3, classes=5, dropout=0.0, ideas=ALL, shape="basic", width=16):
    torch.manual_seed(0)
    return Network(SHAPES[shape], ideas, t, classes, dropout, width)


def randomise(network):
    """Move what starts at 0, at 1 or as a pure shift, where mistakes could hide."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point() and tensor.dim() < 4:
                tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
    return network


def literal_twin(network, t, classes=5, width=16, shape="basic"):
    """The literal network with the same weights."""
    backbone = SHAPES[shape]
    twin = LiteralTDN(backbone.depths, backbone.block is Bottleneck, width, t, classes).double()
    state = {key.removeprefix("module."): v for key, v in export_upstream(network).items()}
    state = {key.replace("base_model.fc.", "new_fc."): value for key, value in state.items()}
    twin.load_state_dict(state)
    return twin


@pytest.fixture(scope="module", params=[("basic", 8, 48, 64), ("bottleneck", 3, 70, 36)], ids=str)
def step(request):
    """One SGD step of the network and of its literal twin, in float64: what each has after it."""
    shape, t, height, width = request.param
    network = randomise(small(t=t, shape=shape).double())
    twin = literal_twin(network, t, shape=shape)
    clips = uint8_clips(2, t, height, width)
    frames = normalised(clips, torch.float64).flatten(1, 3)
    labels = torch.tensor([1, 4])
    results = []
    for model, given in ((network, clips), (twin, frames)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        loss = F.cross_entropy(model(given), labels)
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
        results.append((loss.detach(), gradients, model.state_dict()))
    return results


def test_training_loss_is_the_literal_network_s(step):
    (found, *_), (expected, *_) = step
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_every_gradient_is_the_literal_network_s(step):
    (_, found, state), (_, expected, _) = step
    parameters = {name for name in state if "running" not in name and "tracked" not in name}
    assert set(found) == parameters  # nothing is dead
    assert {upstream_key(name) for name in found} == set(expected)
    for name, gradient in found.items():
        torch.testing.assert_close(
            gradient, expected[upstream_key(name)], rtol=1e-7, atol=1e-10, msg=name
        )


def test_state_after_the_step_is_the_literal_network_s(step):
    """Weights, running statistics, and how many batches these have seen."""
    (*_, found), (*_, expected) = step
    for name, value in found.items():
        torch.testing.assert_close(
            value, expected[upstream_key(name)], rtol=1e-9, atol=1e-10, msg=name
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("t", [1, 2, 8, 16])
def test_evaluation_is_the_literal_network_s(shape, t):
    network = randomise(small(t=t, shape=shape).double()).eval()
    clips = uint8_clips(2, t, 40, 57)
    twin = literal_twin(network, t, shape=shape).eval()
    with torch.no_grad():
        expected = twin(normalised(clips, torch.float64).flatten(1, 3))
        torch.testing.assert_close(network(clips), expected, rtol=1e-11, atol=1e-11)


def test_uint8_clips_give_what_normalised_floats_give():
    network, clips = randomise(small()).eval(), uint8_clips()
    with torch.no_grad():
        torch.testing.assert_close(network(clips), network(normalised(clips)), rtol=0, atol=2e-5)
        double = copy.deepcopy(network).double()
        found, expected = double(clips), double(normalised(clips, torch.float64))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_logits_are_the_mean_of_the_segments():
    network, clips = small().eval(), uint8_clips()
    with torch.no_grad():
        segments = network.segment_logits(clips)
        assert segments.shape == (2, 3, 5)
        torch.testing.assert_close(network(clips), segments.sum(dim=1) / 3)
        assert network.features(clips).shape == (6, 128, 2, 2)


def test_dropout_acts_on_the_features_of_training_only():
    network, clips = small(dropout=0.9), uint8_clips()
    assert not network(clips).equal(network(clips))
    network.eval()
    assert network(clips).equal(network(clips))


@pytest.mark.parametrize("idea", ["short_term", "long_term", "temporal_conv"])
def test_each_idea_can_be_had_alone(idea):
    none = dict.fromkeys(("short_term", "long_term", "temporal_conv"), False)
    plain = {name for name, _ in small(ideas=Ideas(**none)).named_parameters()}
    network = small(ideas=Ideas(**{**none, idea: True}))
    network(uint8_clips()).sum().backward()
    added = {name for name, _ in network.named_parameters()} - plain
    assert added
    assert all(idea in name for name in added)


def test_the_baseline_sees_centre_frames_only():
    none = Ideas(short_term=False, long_term=False, temporal_conv=False)
    network, clips = small(ideas=none).eval(), uint8_clips()
    other = clips.clone()
    other[:, :, [0, 1, 3, 4]] = 0
    assert network(clips).equal(network(other))
    assert network(clips[:, [2, 0, 1]]).allclose(network(clips), atol=1e-6)
    tdn = randomise(small()).eval()
    assert not tdn(clips).allclose(tdn(other), atol=1e-4)
    assert not tdn(clips[:, [2, 0, 1]]).allclose(tdn(clips), atol=1e-4)


def test_initial_weights():
    network = create_model("tdn_resnet18", num_classes=7, num_segments=8)
    torch.testing.assert_close(
        network.short_term.conv.weight,
        network.stem.conv.weight.mean(dim=1, keepdim=True).expand(-1, 12, -1, -1),
    )
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            if module.weight.numel() > 5000 and name != "short_term.conv":
                out, _, k, _ = module.weight.shape
                deviation = (2 / (k * k * out)) ** 0.5
                assert module.weight.std().item() == pytest.approx(deviation, rel=0.1), name
            assert module.bias is None or module.bias.count_nonzero() == 0
    assert network.classifier.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert network.classifier.bias.count_nonzero() == 0
    shift = network.stage2[0].temporal_conv.weight
    assert shift[:16, 0, 2].eq(1).all()
    assert shift.sum() == 128


def test_autocast_computes_in_bfloat16():
    network, clips = randomise(small()), uint8_clips()
    exact = copy.deepcopy(network)(clips)
    seen = []
    network.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(clips)
        F.cross_entropy(logits, torch.tensor([1, 4])).backward()
    assert seen == [torch.bfloat16]
    assert (logits - exact).abs().max() < 0.05 * exact.abs().max()
    for parameter in network.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_channels_last_and_contiguous_weights_agree():
    clips = uint8_clips()
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network = randomise(small().double()).to(memory_format=layout)
        found = []
        for block in (network.stage1, network.stage2, network.stage4):
            block.register_forward_hook(lambda *given, found=found: found.append(given[2]))
        logits = network(clips)
        logits.sum().backward()
        assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in found)
        results.append([logits, *(p.grad for p in network.parameters())])
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


def test_compiles_into_one_graph():
    network, clips = randomise(small(t=2).double()), uint8_clips(t=2)
    compiled = copy.deepcopy(network)
    outputs = network(clips), torch.compile(compiled, backend="aot_eager", fullgraph=True)(clips)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*outputs)
    for a, b in zip(network.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(network.state_dict(), compiled.state_dict())


BAD_CLIPS = {
    "five dimensions": torch.zeros(2, 3, 48, 40, 3, dtype=torch.uint8),
    "segments": uint8_clips(t=4),
    "frames": uint8_clips()[:, :, :3],
    "channels first": uint8_clips().permute(0, 1, 2, 5, 3, 4),
    "channels last": normalised(uint8_clips()).permute(0, 1, 2, 4, 5, 3),
    "integers": uint8_clips().int(),
    "booleans": uint8_clips().bool(),
    "small": uint8_clips(height=32),
    "narrow": normalised(uint8_clips(width=32)),
}


@pytest.mark.parametrize("clips", BAD_CLIPS.values(), ids=BAD_CLIPS)
def test_wrong_clips_are_refused_in_one_line(clips):
    with pytest.raises(UserError) as refusal:
        small()(clips)
    assert len(str(refusal.value).splitlines()) == 1
    assert any(str(n) in str(refusal.value) for n in clips.shape)


def test_the_smallest_frames_work():
    for shape in SHAPES:
        network = small(shape=shape)
        assert network(uint8_clips(height=33, width=33)).isfinite().all()
    none = Ideas(short_term=False, long_term=False, temporal_conv=False)
    assert small(ideas=none).eval()(uint8_clips(height=8, width=8)).isfinite().all()


def test_partial_bn_trains_the_first_batch_norm_only():
    network, clips = small(dropout=0.5), uint8_clips()
    network.freeze_batch_norms()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()
    network.train()
    assert network.dropout.training
    network(clips).sum().backward()
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert [name for name, norm in norms.items() if norm.training] == ["stem.norm"]
    changed = {name for name, v in network.state_dict().items() if not v.equal(before[name])}
    assert changed == {
        f"stem.norm.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")
    }
    for name, parameter in network.named_parameters():
        frozen = name.rpartition(".")[0] in norms and not name.startswith("stem.norm.")
        assert (parameter.grad is None) == frozen, name
