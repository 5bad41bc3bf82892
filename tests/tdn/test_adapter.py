"""What the adapter needs of a backbone: stand-ins of timm's three styles have that and no more."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tdn import UserError, load_checkpoint
from tdn.adapter import ANATOMIES, Anatomy, adapt
from tdn.checkpoint import OWN
from tdn.config import TemporalConfig
from tdn.long_term import LongTermTDM
from tdn.model_rules import Ideas
from tdn.models import VARIANTS
from tdn.temporal_conv import TemporalConv

T = 3
WIDTHS = (16, 24, 32, 48)


class ResNetBlock(nn.Module):
    """ResNet-D: pooled shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(inputs, width // 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
        )
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=stride, padding=1, bias=False)
        self.bn2, self.act2 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(inputs, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(out + self.downsample(x))


class ResNet(nn.Module):
    """A deep stem of three convs; stage 1 does not stride."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1)]
        self.conv1, self.bn1, self.act1 = nn.Sequential(*convs), nn.BatchNorm2d(12), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 12
        for number, width in enumerate(WIDTHS, start=1):
            first = ResNetBlock(inputs, width, 1 if number == 1 else 2)
            setattr(self, f"layer{number}", nn.Sequential(first, ResNetBlock(width, width, 1)))
            inputs = width
        self.fc = nn.Linear(inputs, 10)

    def features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class ConvNormAct(nn.Module):
    def __init__(self, inputs: int, width: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class RegNetBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, width, 1, 1)
        self.conv2 = ConvNormAct(width, width, 3, stride, groups=width // 8)
        self.downsample = ConvNormAct(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)) + self.downsample(x)


class RegNet(nn.Module):
    """Every stage strides, the first too; blocks have names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, 8, 3, 2)
        inputs = 8
        for number, width in enumerate(WIDTHS, start=1):
            blocks = OrderedDict(b1=RegNetBlock(inputs, width, 2), b2=RegNetBlock(width, width, 1))
            setattr(self, f"s{number}", nn.Sequential(blocks))
            inputs = width

    def features(self, x: Tensor) -> Tensor:
        return self.s4(self.s3(self.s2(self.s1(self.stem(x)))))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1)))
        return x + out.permute(0, 3, 1, 2)


class ConvNeXtStage(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(inputs, width, stride, stride)
        self.blocks = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """A stem of patches; blocks lie a level deeper, without batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, stride=4), nn.GroupNorm(1, WIDTHS[0]))
        pairs = zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
        stages = [ConvNeXtStage(a, b, 1 if a == b else 2) for a, b in pairs]
        self.stages = nn.Sequential(*stages)

    def features(self, x: Tensor) -> Tensor:
        return self.stages(self.stem(x))


STYLES = {"ResNet": ResNet, "RegNet": RegNet, "ConvNeXt": ConvNeXt}
NONE = Ideas(short_term=False, long_term=False, temporal_conv=False)


def clips(n=2):
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (n, T, 5, 64, 96, 3), dtype=torch.uint8, generator=generator)


def adapted(style, **settings):
    torch.manual_seed(0)
    return adapt(STYLES[style](), num_classes=4, num_segments=T, **settings)


@pytest.mark.parametrize("style", STYLES)
def test_every_parameter_learns(style):
    model = adapted(style, dropout=0.0)
    assert model.training
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(clips()), torch.tensor([1, 3]))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    optimizer.step()
    assert F.cross_entropy(model(clips()), torch.tensor([1, 3])) < loss
    assert not model.classifier.weight.equal(before["classifier.weight"])


@pytest.mark.parametrize("style", STYLES)
def test_without_temporal_modules_it_is_the_backbone_on_centre_frames(style):
    torch.manual_seed(0)
    backbone = STYLES[style]()
    twin = copy.deepcopy(backbone).eval()
    model = adapt(backbone, num_classes=4, num_segments=T, ideas=NONE).eval()
    x = torch.randn(2, T, 5, 3, 64, 64)
    with torch.no_grad():
        expected = twin.features(x[:, :, 2].flatten(0, 1)).mean(dim=(2, 3))
        segments = model.classifier(expected).view(2, T, 4)
        torch.testing.assert_close(model(x), segments.mean(dim=1))


@pytest.mark.parametrize("style", STYLES)
def test_stages_2_to_4_carry_the_modules_in_every_block(style):
    model = adapted(style)
    for number in (1, 2, 3, 4):
        modules = list(getattr(model, f"stage{number}").modules())
        for kind in (LongTermTDM, TemporalConv):
            count = sum(isinstance(module, kind) for module in modules)
            assert count == (0 if number == 1 else 2)


@pytest.mark.parametrize("style", STYLES)
def test_s_tdm_starts_as_stem_and_stage_1_on_the_mean_colour(style):
    model = adapted(style).eval()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        first, second = model.short_term(grey.expand(-1, 12, -1, -1) / 4)
        expected = model.stem(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second, model.stage1(first))
    weight = next(m.weight for m in model.short_term.modules() if isinstance(m, nn.Conv2d))
    assert all(weight[:, channel].equal(weight[:, 0]) for channel in range(12))
    own = {id(parameter) for parameter in model.stem.parameters()}
    assert not own & {id(parameter) for parameter in model.short_term.parameters()}


@pytest.mark.parametrize("style", STYLES)
def test_motion_matters(style):
    """Frames between the centres, and the order of segments."""
    model, x = adapted(style).eval(), clips()
    with torch.no_grad():
        logits = model(x)
        for changed in (x.flip(2), x[:, [2, 0, 1]]):
            assert (model(changed) - logits).abs().max() > 1e-3 * logits.abs().max()


@pytest.mark.parametrize("style", STYLES)
def test_its_own_checkpoint_is_loaded(style, tmp_path):
    path, source = tmp_path / "last.pt", adapted(style)
    torch.save({"model": source.state_dict()}, path)
    model = adapt(STYLES[style](), num_classes=4, num_segments=T)
    report = load_checkpoint(model, path)
    assert report.format == OWN
    assert report.loaded == tuple(source.state_dict())
    torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)
    with pytest.raises(UserError, match="new_head"):
        load_checkpoint(adapt(STYLES[style](), num_classes=5), path)


def test_ablations_apply():
    whole = {name for name, _ in adapted("RegNet").named_parameters()}
    details = TemporalConfig(fusions="first", branches="none", stages=(4,))
    part = {name for name, _ in adapted("RegNet", temporal=details).named_parameters()}
    dropped = whole - part
    assert part < whole
    assert any(name.startswith("short_term.stage") for name in dropped)
    assert any("half_conv" in name for name in dropped)
    assert not any(name.startswith("stage2") and "long_term" in name for name in part)


@pytest.mark.parametrize(
    ("anatomy", "named"),
    [
        (None, "Sequential"),
        (Anatomy(("stm",), ("s1", "s2", "s3", "s4"), "conv1"), "stm"),
        (Anatomy(("stem",), ("s1", "s2", "s3", "s5"), "conv1"), "s5"),
        (Anatomy(("stem",), ("s1", "s2", "s3", "s4"), "conv9"), "conv9"),
    ],
)
def test_what_a_backbone_lacks_is_named(anatomy, named):
    backbone = nn.Sequential() if anatomy is None else RegNet()
    refused(backbone, anatomy, named)


def refused(backbone, anatomy, named):
    """The backbone stays as it was: state, mode, modules and hooks."""
    backbone.train()
    before = copy.deepcopy(backbone)
    with pytest.raises(UserError, match=named) as refusal:
        adapt(backbone, num_classes=2, anatomy=anatomy)
    assert len(str(refusal.value).splitlines()) == 1
    assert repr(backbone) == repr(before)
    torch.testing.assert_close(backbone.state_dict(), before.state_dict(), rtol=0, atol=0)
    for module in backbone.modules():
        assert module.training
        assert not module._forward_hooks


def test_modules_that_do_not_belong_together_are_refused():
    refused(RegNet(), Anatomy(("stem",), ("s2", "s1", "s3", "s4"), "conv1"), "one after the other")
    refused(ConvNeXt(), Anatomy(("stem",), ("stages",) * 4, "conv_dw"), "one after the other")
    stages = ("stages.0", "stages.1", "stages.2", "stages.3")
    refused(ConvNeXt(), Anatomy(("stages.0",), stages, "conv_dw"), "one after the other")


def test_a_carrier_must_run_in_every_block():
    backbone, anatomy = RegNet(), Anatomy(("stem",), ("s1", "s2", "s3", "s4"), "spare")
    for stage in (backbone.s1, backbone.s2, backbone.s4):
        stage.b1 = nn.Sequential(OrderedDict(spare=stage.b1))
    refused(backbone, anatomy, "no block of stage 3 has a module spare")
    backbone.s3.b2.spare = nn.Identity()  # which its forward does not call
    refused(backbone, anatomy, "spare of stage 3 gives no maps")


@pytest.mark.parametrize("ideas", [VARIANTS["tdn"], NONE])
def test_a_backbone_serves_one_network(ideas):
    backbone = RegNet()
    model = adapt(backbone, num_classes=4, num_segments=T, ideas=ideas).eval()
    with torch.no_grad():
        before = model(clips())
        backbone.eval()
        with pytest.raises(UserError, match="adapted") as refusal:
            adapt(backbone, num_classes=4, num_segments=T)
        assert model(clips()).equal(before)
    assert len(str(refusal.value).splitlines()) == 1


def test_known_styles():
    assert set(ANATOMIES) == set(STYLES)
