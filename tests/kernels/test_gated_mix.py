"""The gated mix against its reference in float64; kernels run in the interpreter or on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tdn.kernels import backend
from tdn.kernels.gated_mix import expanded_statistics, gated_mix, reference
from tdn.kernels.norm import Norm
from tests.kernels.agreement import DEVICE, TOLERANCES, assert_close, poisoned
from tests.kernels.images import LAYOUTS, images

LAST, FIRST = torch.channels_last, torch.contiguous_format
EPS = 1e-5


@dataclass
class Case:
    """Inputs of a call: x, s and parameters by name, in the types the network has them in."""

    tensors: dict[str, Tensor]
    segments: int
    training: bool
    running: tuple[Tensor, Tensor]
    scale: float = 1 / 3

    def moments(self) -> tuple[Tensor, Tensor] | None:
        """Of the stored s, as the operation before gives them."""
        if not self.training:
            return None
        s = self.tensors["s"].detach().double().unflatten(0, (2, -1)).transpose(1, 2).flatten(2)
        mean = s.mean(-1)
        centred = s - mean[..., None]
        covariance = centred @ centred.transpose(1, 2) / s.shape[-1]
        return mean.float(), covariance.float()

    def found(self) -> Tensor:
        """By kernels."""
        t, moments = self.tensors, self.moments()
        statistics = self.running
        if moments:
            count = t["s"].numel() // t["s"].shape[1] // 2
            expanded = expanded_statistics(*moments, t["expand"].detach(), count, self.scale)
            statistics = expanded[0], expanded[1]
        norm = Norm(*statistics, t["weight"], t["bias"], EPS)
        return gated_mix(
            *(t["x"], t["s"], moments, norm, t["expand"]),
            *(t.get("mix"), self.segments, self.scale),
        )

    def expected(self) -> tuple[Tensor, dict[str, Tensor]]:
        """By the reference in float64, and its inputs."""
        t = {k: v.detach().double().requires_grad_() for k, v in self.tensors.items()}
        norm = Norm(*(v.double() for v in self.running), t["weight"], t["bias"], EPS)
        out = reference(
            *(t["x"], t["s"], self.moments(), norm, t["expand"], t.get("mix")),
            *(self.segments, self.scale),
        )
        return out, t


def case(
    clips=1,
    segments=3,
    channels=64,
    inner=4,
    size=(7, 7),
    dtype=torch.float32,
    layout=LAST,
    training=True,
    mix=True,
    spread=1.0,
    offset=0.0,
) -> Case:
    n = clips * segments
    s = spread * images(2 * n, inner, *size, seed=1) + images(1, inner, 1, 1, seed=2) + offset
    tensors = {
        "x": images(n, channels, *size).to(dtype),
        "s": s.to(dtype),
        "expand": images(channels, inner, 1, 1, seed=3, dtype=torch.float32) / inner**0.5,
        "weight": images(1, channels, 1, 1, seed=4, dtype=torch.float32).flatten(),
        "bias": images(1, channels, 1, 1, seed=5, dtype=torch.float32).flatten(),
    }
    if mix:
        tensors["mix"] = images(channels, 1, 3, 1, seed=6, dtype=torch.float32).squeeze(-1)
    for name in ("x", "s"):
        tensors[name] = tensors[name].contiguous(memory_format=layout)
    tensors = {name: v.to(DEVICE).requires_grad_() for name, v in tensors.items()}
    mean = images(1, channels, 1, 1, seed=7, dtype=torch.float32).flatten().to(DEVICE)
    variance = 0.5 + images(1, channels, 1, 1, seed=8, dtype=torch.float32).abs().flatten()
    return Case(tensors, segments, training, (mean, variance.to(DEVICE)))


def check(given: Case, layout=LAST) -> None:
    """The result and every gradient agree with the reference, and nothing is left unwritten."""
    dtype = given.tensors["x"].dtype
    with poisoned():
        found = given.found()
        grad = images(*found.shape, seed=9).to(found).contiguous(memory_format=layout)
        gradients = torch.autograd.grad(found, list(given.tensors.values()), grad)
    expected, inputs = given.expected()
    gradients_expected = torch.autograd.grad(expected, list(inputs.values()), grad.double())
    assert_close(found, expected, dtype)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=layout)
    for name, d, wanted in zip(given.tensors, gradients, gradients_expected, strict=True):
        assert d.dtype == given.tensors[name].dtype
        assert_close(d, wanted, dtype)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["batch", "running"])
def test_types_layouts_and_statistics(dtype, layout, training):
    check(case(2, 3, 80, 5, (7, 9), dtype, layout, training), layout)


@pytest.mark.parametrize("segments", [1, 2, 8, 64])
def test_segments(segments):
    check(case(2, segments, 32, 4, (2, 3)))


@pytest.mark.parametrize("side", [1, 7, 14, 15, 57])
def test_sides(side):
    check(case(4 if side == 1 else 1, 2, 32, 2, (side, side)))


@pytest.mark.parametrize(("channels", "inner"), [(64, 4), (128, 8), (152, 9), (512, 32)])
def test_channels(channels, inner):
    check(case(1, 3, channels, inner, (4, 4)))


def test_more_inner_channels_than_a_program_sums():
    """The pass over clips goes through s part by part; half types and float32 cut differently."""
    check(case(2, 2, 32, 64, (5, 5)))
    check(case(2, 2, 24, 65, (5, 5), torch.float16))
    check(case(2, 2, 32, 128, (6, 6), torch.bfloat16, FIRST), FIRST)


@pytest.mark.parametrize("training", [True, False], ids=["batch", "running"])
def test_without_a_temporal_conv(training):
    check(case(2, 3, 64, 4, training=training, mix=False))


def test_several_programs_share_the_sums(monkeypatch):
    """As on a GPU, where tiles are small and a program takes several of them."""
    monkeypatch.setattr(backend, "INTERPRETING", False)
    monkeypatch.setattr("tdn.kernels.gated_mix_backward.PROGRAMS", 4)
    check(case(3, 2, 32, 6, (6, 6)))
    check(case(3, 2, 32, 6, (9, 9), layout=FIRST), FIRST)


def test_statistics_of_maps_far_from_zero():
    """A variance that is the small difference of large numbers would be noise."""
    given = case(1, 2, 32, 4, spread=1.0, offset=1000.0)
    moments = given.moments()
    expand = given.tensors["expand"].detach()
    found = expanded_statistics(*moments, expand, 98, 1 / 3)
    z = torch.nn.functional.conv2d(given.tensors["s"].detach().double(), expand.double() / 3)
    for direction, maps in enumerate(z.unflatten(0, (2, -1))):
        assert_close(found[0, direction], maps.mean((0, 2, 3)), torch.float32)
        assert_close(found[1, direction], maps.var((0, 2, 3), unbiased=False), torch.float32)
        assert_close(found[2, direction], maps.var((0, 2, 3)), torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, -1e4])
def test_constant_inputs_give_numbers(value, dtype):
    given = case(1, 3, 32, 4, (3, 3), dtype)
    with torch.no_grad():
        given.tensors["x"].fill_(value)
        given.tensors["s"].fill_(value)
        given.tensors["mix"].fill_(1 / 3)  # larger ones would take 1e4 out of float16
    found = given.found()
    # Constant maps are divided by sqrt(eps): the true gradient of 1e4 is large.
    grad = torch.full_like(found, 1e-4)
    gradients = torch.autograd.grad(found, list(given.tensors.values()), grad)
    assert all(torch.isfinite(v).all() for v in (found, *gradients))


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_saturated_gates(offset):
    """Gates of 0 and of 1, from which exponentials would overflow."""
    given = case(1, 3, 32, 4, (3, 3), training=False)
    with torch.no_grad():
        given.tensors["bias"].fill_(offset)
    found = given.found()
    expected, _ = given.expected()
    assert_close(found, expected, torch.float32)
    gradients = torch.autograd.grad(found, list(given.tensors.values()), torch.ones_like(found))
    assert all(torch.isfinite(v).all() for v in gradients)


def test_nan_stays_nan():
    given = case(1, 2, 32, 4, (3, 3), training=False)
    with torch.no_grad():
        given.tensors["s"][0, 0, 0, 0] = float("nan")
    assert given.found().isnan().any()


def test_a_gradient_without_memory_of_its_own():
    given = case()
    found = torch.autograd.grad(given.found().sum(), list(given.tensors.values()))
    out, inputs = given.expected()
    for d, wanted in zip(found, torch.autograd.grad(out.sum(), list(inputs.values())), strict=True):
        assert_close(d, wanted, torch.float32)


@pytest.mark.parametrize(("inner", "layout"), [(6, LAST), (64, FIRST)])
def test_runs_give_the_same_bits(inner, layout):
    results = []
    for _ in range(2):
        given = case(3, 2, 32, inner, (5, 5), layout=layout)
        found = given.found()
        gradients = torch.autograd.grad(found, list(given.tensors.values()), found.detach())
        results.append((found, *gradients))
    assert all(a.equal(b) for a, b in zip(*results, strict=True))


def test_frozen_parameters_take_no_gradients():
    given = case(training=False)
    for name in ("weight", "bias"):
        given.tensors[name].requires_grad_(False)
    given.found().sum().backward()
    assert given.tensors["weight"].grad is None
    assert given.tensors["expand"].grad is not None


@pytest.mark.parametrize("training", [True, False], ids=["batch", "running"])
@pytest.mark.parametrize("mix", [True, False], ids=["mix", "no mix"])
def test_custom_operators(training, mix):
    given = case(1, 2, 32, 4, (3, 3), training=training, mix=mix)
    t, moments = given.tensors, given.moments() or (None, None)
    statistics = given.running
    if training:
        expand = t["expand"].detach()
        torch.library.opcheck(expanded_statistics, (*moments, expand, 18, 1.0))
        expanded = expanded_statistics(*moments, expand, 18, 1.0)
        statistics = expanded[0], expanded[1]
    arguments = (
        *(t["x"], t["s"], *moments, *statistics, t["expand"], t["weight"], t["bias"]),
        *(EPS, t.get("mix"), 2, 1.0),
    )
    torch.library.opcheck(torch.ops.tdn.gated_mix.default, arguments)


def test_shapes_that_do_not_fit():
    t = case().tensors
    arguments = [*(t["x"], t["s"], None, None, t["bias"], t["bias"], t["expand"])]
    arguments += [t["weight"], t["bias"], EPS, t["mix"]]
    with pytest.raises(ValueError, match="segments"):
        torch.ops.tdn.gated_mix(*arguments, 2, 1.0)  # of 3 images
    arguments[1] = t["s"][:-1]
    with pytest.raises(ValueError, match="maps"):
        torch.ops.tdn.gated_mix(*arguments, 3, 1.0)


def test_compiles_as_one_graph():
    given = case(1, 2, 32, 4, (3, 3))
    compiled = torch.compile(given.found, fullgraph=True, backend="aot_eager")
    values = list(given.tensors.values())
    plain, found = given.found(), compiled()
    assert plain.equal(found)
    pairs = zip(
        torch.autograd.grad(plain.sum(), values),
        torch.autograd.grad(found.sum(), values),
        strict=True,
    )
    assert all(a.equal(b) for a, b in pairs)
