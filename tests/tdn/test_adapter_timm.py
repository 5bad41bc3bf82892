"""The adapter on timm itself, one network of each style and ResNet's two kinds of block.

``test_adapter`` has stand-ins of them, for where timm is not installed.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from tdn import UserError, load_checkpoint
from tdn.adapter import adapt
from tdn.long_term import LongTermTDM
from tdn.models import VARIANTS
from tdn.summary import summarise
from tdn.temporal_conv import TemporalConv

timm = pytest.importorskip("timm")

T = 3
NAMES = {"resnet18d": 6, "resnet26d": 6, "regnety_002": 12, "convnext_atto": 10}
"""And how many blocks their stages 2 to 4 have."""


def clips(n=2):
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (n, T, 5, 64, 96, 3), dtype=torch.uint8, generator=generator)


def adapted(name, **settings):
    torch.manual_seed(0)
    return adapt(timm.create_model(name), num_classes=4, num_segments=T, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_without_temporal_modules_it_is_the_backbone_on_centre_frames(name):
    torch.manual_seed(0)
    backbone = timm.create_model(name)
    twin = copy.deepcopy(backbone).eval()
    model = adapt(backbone, num_classes=4, num_segments=T, ideas=VARIANTS["tsn"]).eval()
    x = torch.randn(2, T, 5, 3, 64, 64)
    with torch.no_grad():
        maps = twin.forward_features(x[:, :, 2].flatten(0, 1))
        expected = model.classifier(maps.mean(dim=(2, 3))).view(2, T, 4).mean(dim=1)
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_equipped_and_every_parameter_learns(name):
    model = adapted(name, dropout=0.0)
    for kind in (LongTermTDM, TemporalConv):
        assert sum(isinstance(module, kind) for module in model.modules()) == NAMES[name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(clips()), torch.tensor([1, 3]))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    optimizer.step()
    assert F.cross_entropy(model(clips()), torch.tensor([1, 3])) < loss


@pytest.mark.parametrize("name", NAMES)
def test_s_tdm_starts_as_stem_and_stage_1_on_the_mean_colour(name):
    model = adapted(name).eval()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        first, second = model.short_term(grey.expand(-1, 12, -1, -1) / 4)
        expected = model.stem(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second, model.stage1(first))


@pytest.mark.parametrize("name", NAMES)
def test_motion_matters(name):
    """Frames between the centres, and the order of segments: by far more than rounding."""
    model, x = adapted(name).double().eval(), clips()
    with torch.no_grad():
        for parameter in model.parameters():  # timm starts blocks with a scale of 0 or 1e-6
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.rand_like(parameter))
        logits = model(x)
        for changed in (x.flip(2), x[:, [2, 0, 1]]):
            assert (model(changed) - logits).abs().max() > 1e-7 * logits.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_summarised_saved_and_loaded(name, tmp_path):
    with torch.device("meta"):
        summary = summarise(adapted(name), 64, 64)
    assert set(summary.parts) == {"S-TDM", "L-TDM", "temporal conv"}
    model, other = adapted(name), adapt(timm.create_model(name), num_classes=4, num_segments=T)
    assert summary.total.parameters == sum(p.numel() for p in model.parameters())
    torch.save({"model": model.state_dict()}, tmp_path / "last.pt")
    report = load_checkpoint(other, tmp_path / "last.pt")
    assert report.left_initial == report.skipped == ()
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_backbone_serves_one_network():
    backbone = timm.create_model("regnety_002")
    adapt(backbone, num_classes=4)
    with pytest.raises(UserError, match="adapted"):
        adapt(backbone, num_classes=4)
