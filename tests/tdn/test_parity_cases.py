"""The network against the literal one, under its keys: every published form, evaluated and trained.

``test_parity`` compares one full-size network with measurements of the released code; here the
second opinion is ``literal_tdn``, so that depth, segments, classes, input size and batch norm can
vary. Networks are narrow; their depth is the real one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness.literal_tdn import LiteralTDN
from tdn import create_model, load_checkpoint
from tdn.checkpoint import export_upstream
from tdn.kernels import backend
from tdn.upstream_keys import upstream_key
from tests.kernels.agreement import DEVICE
from tests.tdn import upstream_recipe as recipe

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
WIDTH = 16
NARROW = 8
"""For large clips, of which a narrow network takes half the time."""


@dataclass(frozen=True)
class Case:
    backbone: str
    segments: int
    classes: int
    size: int
    dropout: float = 0.5
    prefix: str = "module."
    width: int = WIDTH

    def released_state(self):
        """A checkpoint by the recipe under the released code's keys."""
        literal = self.literal()
        state = {}
        for key, value in literal.state_dict().items():
            if self.dropout == 0:
                key = key.replace("new_fc.", "base_model.fc.")
            state[self.prefix + key] = recipe.filled(key, tuple(value.shape))
        return state

    def literal(self):
        return LiteralTDN(DEPTHS[self.backbone], True, self.width, self.segments, self.classes)

    def networks(self, path):
        """Ours and the literal one with the checkpoint's weights, and the checkpoint."""
        state = self.released_state()
        torch.save({"state_dict": state, "arch": self.backbone}, path)
        ours = create_model(
            f"tdn_{self.backbone}",
            num_segments=self.segments,
            num_classes=self.classes,
            dropout=self.dropout,
            width=self.width,
        )
        load_checkpoint(ours, path)
        literal = self.literal()
        literal.load_state_dict(
            {
                key.removeprefix(self.prefix).replace("base_model.fc.", "new_fc."): value
                for key, value in state.items()
            }
        )
        return ours, literal, state


CASES = {
    **{
        f"R{backbone[6:]} T{segments} {size}": Case(backbone, segments, 174, size, width=NARROW)
        for backbone, segments, size in (
            ("resnet50", 8, 224),
            ("resnet50", 16, 112),
            ("resnet50", 16, 256),
            ("resnet101", 8, 256),
            ("resnet101", 16, 224),
        )
    },
    "400 classes": Case("resnet50", 8, 400, 48, prefix=""),
    "400 classes, R101 T16": Case("resnet101", 16, 400, 48, prefix=""),
    "101 classes, no dropout": Case("resnet50", 16, 101, 48, dropout=0.0),
    "51 classes, no dropout": Case("resnet50", 8, 51, 48, dropout=0.0, prefix=""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_evaluation_and_round_trip(case, tmp_path):
    ours, literal, state = case.networks(tmp_path / "released.pth")
    clips = recipe.clips(1, 1, case.segments, case.size)
    with torch.no_grad():
        for precision, bound in ((torch.float32, 3e-5), (torch.float64, 1e-11)):
            found = ours.to(precision).eval()(clips.to(precision))
            expected = literal.to(precision).eval()(clips.to(precision).flatten(1, 3))
            assert (found - expected).abs().max() < bound * expected.abs().max()
    exported = export_upstream(ours.float())
    assert list(exported) == [f"module.{key.removeprefix('module.')}" for key in state]
    for key, value in state.items():
        if "conv1_temp" not in key:
            assert exported[f"module.{key.removeprefix('module.')}"].equal(value), key


def freeze_literal(literal):
    """Partial BN as the recipes of the field have it."""
    norms = [module for module in literal.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms[1:]:
        norm.eval()
        norm.requires_grad_(False)


@dataclass
class Step:
    """What a network has after an SGD step, by the released code's keys."""

    loss: torch.Tensor
    gradients: dict[str, torch.Tensor]
    state: dict[str, torch.Tensor]


def train_a_step(model, clips, key_of):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loss = F.cross_entropy(model(clips), torch.tensor([3, 11], device=clips.device))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 20)
    gradients = {key_of(n): p.grad for n, p in model.named_parameters() if p.grad is not None}
    optimizer.step()
    state = {key_of(name): value for name, value in model.state_dict().items()}
    return Step(loss.detach().cpu(), on_cpu(gradients), on_cpu(state))


def on_cpu(tensors):
    return {key: value.cpu() for key, value in tensors.items()}


TRAINING = {
    "R50 T8": Case("resnet50", 8, 174, 64, dropout=0.0),
    "R50 T16": Case("resnet50", 16, 101, 48, dropout=0.0),
    "R101 T4": Case("resnet101", 4, 51, 48, dropout=0.0),
}


@pytest.mark.parametrize("partial", [False, True], ids=["whole BN", "partial BN"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", TRAINING.values(), ids=TRAINING)
def test_a_training_step(case, precision, partial, tmp_path):
    ours, literal, _ = case.networks(tmp_path / "released.pth")
    ours, literal = ours.to(precision), literal.to(precision)
    if partial:
        ours.freeze_batch_norms()
        freeze_literal(literal)
    clips = recipe.clips(1, 2, case.segments, case.size).to(precision)
    found = train_a_step(ours, clips, upstream_key)
    expected = train_a_step(literal, clips.flatten(1, 3), str)
    assert_same_step(found, expected, 1e-8 if precision == torch.float64 else 1e-2, partial)


def test_a_training_step_by_kernels(tmp_path):
    """ResNet-50 at 112 pixels, every temporal operation by its Triton kernels.

    In float32 a step of this network is 1 % rounding error: the kernels may not add to that of the
    literal network.
    """
    case = Case("resnet50", 8, 174, 112, dropout=0.0)
    ours, literal, _ = case.networks(tmp_path / "released.pth")
    clips = recipe.clips(1, 2, case.segments, case.size)
    exact = train_a_step(copy.deepcopy(literal).double(), clips.double().flatten(1, 3), str)
    plain = train_a_step(literal, clips.flatten(1, 3), str)
    ours.to(DEVICE, memory_format=torch.channels_last)
    with backend.using("triton"):
        found = train_a_step(ours, clips.to(DEVICE), upstream_key)
    assert set(found.gradients) == set(exact.gradients)
    assert distance(found.gradients, exact.gradients) < 1.5 * distance(
        plain.gradients, exact.gradients
    )
    assert distance(found.state, exact.state) < 1e-3
    for key, value in found.state.items():
        if key.endswith("num_batches_tracked"):
            assert value == batches_counted(key, partial=False), key


def distance(found, exact):
    """Largest relative norm of a difference, as ``assert_same_step`` takes it."""
    floor = 1e-3 * max(value.double().norm().item() for value in exact.values())
    return max(relative(found[key].double(), exact[key].double(), floor) for key in found)


def assert_same_step(found, expected, close, partial):
    """Loss, gradients and state after a step agree to within ``close``."""
    assert abs(found.loss - expected.loss) < close * expected.loss
    assert set(found.gradients) == set(expected.gradients)
    # A bias before a batch norm has a gradient of rounding errors: hence the floor.
    floor = 1e-3 * max(gradient.norm().item() for gradient in expected.gradients.values())
    for key, gradient in expected.gradients.items():
        assert relative(found.gradients[key], gradient, floor) < close, key
    for key, value in found.state.items():
        if key.endswith("num_batches_tracked"):
            assert value == expected.state[key] == batches_counted(key, partial), key
        else:
            assert relative(value, expected.state[key]) < close / 10, key


def batches_counted(key, partial):
    """How many batches a batch norm counts in a step: those that both directions share, two."""
    if partial:
        return int(key.startswith("base_model.bn1."))
    shared = ("mse.bn3.", "mse.bn3_smallscale2.", "mse.bn3_smallscale4.")
    return 2 if any(name in key for name in shared) else 1


def relative(found, expected, floor=1e-6):
    """Norm of the difference over the norm, or over ``floor`` if that is more."""
    return ((found - expected).norm() / expected.norm().clamp(min=floor)).item()
