from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from benchmarks.harness.literal_tdn import Excitation
from tdn import create_model
from tdn.ablations import PartialLongTermTDM, make_long_term_tdm
from tdn.config import TemporalConfig
from tdn.long_term import LongTermTDM

T, CHANNELS = 4, 32
CLIPS = torch.randint(
    0, 256, (2, T, 5, 40, 33, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
)


def network(name="tdn_resnet10", **details):
    torch.manual_seed(0)
    temporal = TemporalConfig(**details)
    return create_model(
        name, num_classes=3, num_segments=T, width=16, dropout=0.0, temporal=temporal
    )


def names(model):
    return {name for name, _ in model.named_parameters()}


ABLATIONS = {
    "first fusion": ({"fusions": "first"}, "short_term.stage."),
    "second fusion": ({"fusions": "second"}, "nothing"),
    "next": ({"directions": "next"}, "nothing"),
    "previous": ({"directions": "previous"}, "nothing"),
    "half": ({"branches": "half"}, ".full_"),
    "full": ({"branches": "full"}, ".half_"),
    "no branches": ({"branches": "none"}, ("_conv.weight", ".full_", ".half_")),
    "next, no branches": ({"branches": "none", "directions": "next"}, (".full_", ".half_")),
    "stage 3": ({"stages": (3,)}, ("stage2.0.long_term", "stage4.0.long_term")),
    "other fusion weights": ({"fusion_weights": (0.9, 0.3)}, "nothing"),
}


@pytest.mark.parametrize("details", ABLATIONS.values(), ids=ABLATIONS)
def test_each_has_the_parameters_it_uses_and_trains_a_step(details):
    details, without = details
    without = (without,) if isinstance(without, str) else without
    model, whole = network(**details), names(network())
    dropped = {
        name
        for name in whole
        if any(part in name for part in without) and "temporal_conv" not in name
    }
    assert names(model) == whole - dropped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    labels = torch.tensor([0, 2])
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(CLIPS), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses[1] < losses[0]


def test_every_ablation_computes_something_else():
    """From the same weights, as far as it has them."""
    state = {
        name: value + 0.3 * torch.rand(value.shape, generator=torch.Generator().manual_seed(5))
        if value.is_floating_point() and value.dim() < 4
        else value
        for name, value in network().state_dict().items()
    }
    results = []
    for details, _ in [({}, ""), *ABLATIONS.values()]:
        model = network(**details)
        model.load_state_dict({name: state[name] for name in model.state_dict()})
        with torch.no_grad():
            results.append(model.eval()(CLIPS))
    for a, b in itertools.combinations(results, 2):
        assert (a - b).abs().max() > 1e-5 * a.abs().max()


def test_l_tdm_may_stand_in_stage_1():
    added = names(network(stages=(1, 2, 3, 4))) - names(network())
    assert added
    assert all(name.startswith("stage1.0.long_term.") for name in added)


def test_nothing_left_out_is_the_published_module():
    assert type(make_long_term_tdm(CHANNELS, T, TemporalConfig())) is LongTermTDM


@pytest.mark.parametrize("directions", ["both", "next", "previous"])
@pytest.mark.parametrize("branches", ["both", "half", "full", "none"])
def test_partial_l_tdm_is_the_literal_one_without_those_parts(directions, branches):
    torch.manual_seed(0)
    details = TemporalConfig(directions=directions, branches=branches)
    module = PartialLongTermTDM(CHANNELS, T, details).double()
    literal = Excitation(CHANNELS, T).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    for ours, theirs in (
        ("reduce", "conv1"), ("reduce_norm", "bn1"), ("smooth", "conv2"), ("expand", "conv3"),
        ("expand_norm", "bn3"), ("half_conv", "conv3_smallscale2"),
        ("half_norm", "bn3_smallscale2"), ("full_conv", "conv3_smallscale4"),
        ("full_norm", "bn3_smallscale4"),
    ):  # fmt: skip
        if hasattr(module, ours):
            getattr(literal, theirs).load_state_dict(getattr(module, ours).state_dict())

    def gate(d):
        parts = [d]
        if branches in ("both", "half"):
            half = literal.conv3_smallscale2(F.avg_pool2d(d, 2))
            parts.append(F.interpolate(literal.bn3_smallscale2(half), d.shape[2:]))
        if branches in ("both", "full"):
            parts.append(literal.bn3_smallscale4(literal.conv3_smallscale4(d)))
        return torch.sigmoid(literal.bn3(literal.conv3(sum(parts) / len(parts)))) - 0.5

    x = torch.randn(2 * T, CHANNELS, 7, 6, dtype=torch.float64)
    f = literal.bn1(literal.conv1(x))
    f, g = (v.unflatten(0, (-1, T)) for v in (f, literal.conv2(f)))
    zero = torch.zeros_like(f[:, :1])
    differences = {
        "next": torch.cat([g[:, 1:] - f[:, :-1], zero], dim=1).flatten(0, 1),
        "previous": torch.cat([zero, g[:, :-1] - f[:, 1:]], dim=1).flatten(0, 1),
    }
    gates = [gate(d) for name, d in differences.items() if directions in ("both", name)]
    expected = x + x * sum(gates) / len(gates)
    torch.testing.assert_close(module(x), expected, rtol=1e-11, atol=1e-11)
    twins = dict(literal.named_buffers())
    assert module.expand_norm.num_batches_tracked == len(gates)
    torch.testing.assert_close(module.expand_norm.running_mean, twins["bn3.running_mean"])
    torch.testing.assert_close(module.expand_norm.running_var, twins["bn3.running_var"])


def test_a_fusion_that_is_left_out_has_no_effect():
    """With weights 1 and 0 the fusions are none: what remains is the network without S-TDM."""
    plain = network("ltdm-tconv_resnet10").eval()
    for fusions in ("both", "first", "second"):
        model = network(fusions=fusions, fusion_weights=(1.0, 0.0)).eval()
        model.load_state_dict(plain.state_dict(), strict=False)
        with torch.no_grad():
            torch.testing.assert_close(model(CLIPS), plain(CLIPS))


def test_each_fusion_is_where_it_should_be():
    model = network(fusion_weights=(0.0, 1.0)).eval()
    seen = {}
    model.stage1.register_forward_pre_hook(lambda _, given: seen.update(first=given[0]))
    model.stage2.register_forward_pre_hook(lambda _, given: seen.update(second=given[0]))
    model.short_term.register_forward_hook(lambda *given: seen.update(short=given[2]))
    for fusions, fused in (("both", (1, 1)), ("first", (1, 0)), ("second", (0, 1))):
        partial = network(fusions=fusions, fusion_weights=(0.0, 1.0)).eval()
        for name, tensor in partial.state_dict().items():
            tensor.copy_(model.state_dict()[name])
        places = {}
        partial.stage1.register_forward_pre_hook(lambda _, x, p=places: p.update(first=x[0]))
        partial.stage2.register_forward_pre_hook(lambda _, x, p=places: p.update(second=x[0]))
        with torch.no_grad():
            model(CLIPS), partial(CLIPS)
        for place, short, is_fused in zip(("first", "second"), seen["short"], fused, strict=True):
            upsampled = F.interpolate(short, size=seen[place].shape[2:])
            assert places[place].equal(upsampled) == bool(is_fused)
