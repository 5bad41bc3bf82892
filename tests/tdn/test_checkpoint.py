from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import tdn
from benchmarks.harness.literal_tdn import Block, LiteralTDN
from tdn import UserError, create_model, load_checkpoint
from tdn.checkpoint import OWN, TORCHVISION, UPSTREAM, export_upstream
from tests.tdn import upstream_recipe as recipe


def network(name="tdn_resnet10", seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"num_segments": 2, "num_classes": 5, "width": 8, **settings}
    return create_model(name, **settings)


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def refused(model, path, *mentioned):
    """The line that a refusal says; the model stays as it was."""
    before = snapshot(model)
    with pytest.raises(UserError) as refusal:
        load_checkpoint(model, path)
    assert_equal(model.state_dict(), before)
    line = str(refusal.value)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    for text in (str(path), *mentioned):
        assert text in line
    return line


@pytest.fixture
def file(tmp_path):
    """Saves something and returns the path."""

    def save(content, **settings):
        path = tmp_path / "weights.pth"
        torch.save(content, path, **settings)
        return path

    return save


# The released code's checkpoints


@pytest.fixture
def released():
    """A small network's state under the released code's keys, dead conv and prefix included."""
    literal = LiteralTDN((1, 1, 1, 1), False, width=8, t=2, classes=5)
    return {f"module.{key}": value for key, value in literal.state_dict().items()}


def without_prefix(state):
    return {key.removeprefix("module."): value for key, value in state.items()}


def head_in_the_backbone(state):
    return {key.replace("new_fc", "base_model.fc"): value for key, value in state.items()}


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("change", [dict, without_prefix, head_in_the_backbone])
def test_released_checkpoints(file, released, wrapped, change):
    state = change(released)
    extras = {"epoch": 50, "arch": "resnet50", "optimizer": {}, "best_prec1": torch.tensor(64.0)}
    model = network()
    report = load_checkpoint(model, file({**extras, "state_dict": state} if wrapped else state))
    assert report.format == UPSTREAM
    assert set(report.loaded) == set(model.state_dict())
    assert [name.split(".")[-2] for name in report.skipped] == ["conv1_temp", "conv1_temp"]
    assert report.left_initial == ()
    exported = without_prefix(export_upstream(model))
    assert list(exported) == list(without_prefix(state))
    for key, value in without_prefix(state).items():
        assert exported[key].equal(torch.zeros_like(value) if "conv1_temp" in key else value)


def test_a_full_size_checkpoint(file):
    model = create_model("tdn_resnet50", num_segments=16, num_classes=174)
    report = load_checkpoint(model, file({"state_dict": recipe.filled_state()}))
    assert len(report.loaded) == len(recipe.inventory()) - 2
    key = "base_model.layer3_bak.4.mse.bn3_smallscale4.running_var"
    value = model.stage3[4].long_term.full_norm.running_var
    assert value.equal(recipe.filled(key, tuple(value.shape)))


# torchvision's ImageNet networks


class ResNet(nn.Module):
    """A plain ResNet under torchvision's names; its convs have biases of 0."""

    def __init__(self, depths, bottleneck, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for index, depth in enumerate(depths):
            blocks = []
            for number in range(depth):
                stride = 2 if index and number == 0 else 1
                blocks.append(Block(inputs, width * 2**index, stride, bottleneck, t=None))
                inputs = width * 2**index * (4 if bottleneck else 1)
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 1000)
        for name, tensor in self.state_dict().items():
            if self.is_conv_bias(name):
                tensor.zero_()
            elif name.endswith(("weight", "bias", "mean", "var")):
                tensor.add_(0.1 * torch.rand_like(tensor))

    @staticmethod
    def is_conv_bias(name):
        return re.search(r"(conv\d|downsample\.0)\.bias$", name) is not None

    def imagenet_state(self):
        return {name: v for name, v in self.state_dict().items() if not self.is_conv_bias(name)}

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


RESNETS = {"resnet10": ((1, 1, 1, 1), False), "resnet50": ((3, 4, 6, 3), True)}


@pytest.fixture(params=RESNETS)
def imagenet(request):
    """A network's name and the state of its ImageNet twin, and that twin."""
    torch.manual_seed(5)
    resnet = ResNet(*RESNETS[request.param], width=8).eval()
    return request.param, resnet


@pytest.mark.parametrize("counters", [True, False])  # the published files are older than these
def test_imagenet_weights_make_the_baseline_that_resnet(file, imagenet, counters):
    backbone, resnet = imagenet
    state = resnet.imagenet_state()
    if not counters:
        state = {name: v for name, v in state.items() if "tracked" not in name}
    model = network(f"tsn_{backbone}").eval()
    report = load_checkpoint(model, file(state))
    assert report.format == TORCHVISION
    assert report.skipped == ("fc.weight", "fc.bias")
    clips = torch.randn(2, 2, 5, 3, 40, 48)
    with torch.no_grad():
        expected = resnet(clips[:, :, 2].flatten(0, 1))
        torch.testing.assert_close(model.features(clips), expected, rtol=1e-4, atol=1e-4)


def test_imagenet_weights_start_a_tdn(file, imagenet):
    backbone, resnet = imagenet
    model = network(f"tdn_{backbone}")
    before = snapshot(model)
    report = load_checkpoint(model, file(resnet.imagenet_state()))
    assert_equal(model.short_term.stage.state_dict(), model.stage1.state_dict())
    assert model.stage1[0].conv2.weight.equal(resnet.layer1[0].conv2.weight)
    mean = resnet.conv1.weight.mean(dim=1)
    for channel in range(12):
        assert model.short_term.conv.weight[:, channel].equal(mean)
    left = set(report.left_initial)
    assert left | set(report.loaded) == set(before)
    assert not left & set(report.loaded)
    for name, value in model.state_dict().items():
        assert not (name in left and not value.equal(before[name])), name
    assert {"classifier.weight", "short_term.norm.weight", "stem.conv.bias"} <= left
    assert {name for name in before if "long_term" in name or "temporal_conv" in name} <= left


def test_imagenet_weights_of_another_depth_or_width_are_refused(file, imagenet):
    backbone, resnet = imagenet
    path = file(resnet.imagenet_state())
    deeper = {"resnet10": "resnet18", "resnet50": "resnet101"}[backbone]
    refused(network(f"tdn_{deeper}"), path, "not in the file")
    refused(network(f"tdn_{backbone}", width=16), path, "stem.conv.weight", "[8, 3, 7, 7]")
    if backbone == "resnet50":
        refused(network(), path, "only in the file")


# Our own


@pytest.mark.parametrize("new_format", [True, False])
def test_our_own_checkpoints(file, new_format):
    source = network(seed=1)
    for content in (
        source.state_dict(),
        {"model": source.state_dict(), "step": 7, "optimizer": {}},
    ):
        model = network()
        path = file(content, _use_new_zipfile_serialization=new_format)
        report = load_checkpoint(model, str(path))
        assert_equal(model.state_dict(), source.state_dict())
        assert report.format == OWN
        assert report.path == path
        assert report.loaded == tuple(source.state_dict())
        assert report.skipped == report.left_initial == ()


def test_our_own_say_what_their_classes_are_called(file):
    saved = {"model": network(seed=1).state_dict(), "classes": ["brush", "climb"]}
    assert load_checkpoint(network(), file(saved)).classes == ("brush", "climb")
    assert load_checkpoint(network(), file(saved), new_head=True).classes == ()
    assert load_checkpoint(network(), file({"model": saved["model"]})).classes == ()
    assert load_checkpoint(network(), file(saved["model"])).classes == ()


def test_precision_and_layout_stay_the_networks(file):
    source = network(seed=1)
    path = file(source.half().state_dict())
    model = network().to(memory_format=torch.channels_last)
    load_checkpoint(model, path)
    assert model.stem.conv.weight.dtype == torch.float32
    assert model.stem.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model.state_dict(), source.float().state_dict())


def test_a_new_head_for_other_classes(file):
    for state in (network(seed=1).state_dict(), export_upstream(network(seed=1))):
        model = network(num_classes=9)
        before = snapshot(model)
        report = load_checkpoint(model, file(state), new_head=True)
        assert report.left_initial == ("classifier.weight", "classifier.bias")
        assert len(report.skipped) == 2 + 2 * (report.format == UPSTREAM)
        assert model.classifier.weight.equal(before["classifier.weight"])
        assert not model.stem.conv.weight.equal(before["stem.conv.weight"])


def test_the_report_reads_as_one_line(file, released):
    line = str(load_checkpoint(network(), file({"state_dict": released})))
    assert len(line.splitlines()) == 1
    assert "weights.pth" in line
    assert UPSTREAM in line
    assert "base_model.conv1_temp.weight" in line
    assert "184 tensors" in line


# Refusals


def test_another_number_of_classes(file):
    line = refused(network(), file(network(num_classes=7).state_dict()), "7", "5", "num_classes=7")
    assert "new_head" in line


@pytest.mark.parametrize("other", ["tdn_resnet18", "tsn_resnet10", "tdn_resnet50"])
@pytest.mark.parametrize("export", [dict, export_upstream])
def test_another_architecture(file, other, export):
    state = network(other).state_dict() if export is dict else export(network(other))
    line = refused(network(), file(state), "name", "width")
    names = [key.removeprefix("module.") for key in (*state, *network().state_dict())]
    assert sum(name in line for name in names) >= 2
    assert len(line) < 600


def test_a_missing_tensor_and_one_too_many(file):
    state = network().state_dict()
    state["stage9.weight"] = state.pop("stem.norm.bias")
    refused(network(), file(state), "stem.norm.bias", "stage9.weight")


def test_a_tensor_of_another_kind(file):
    state = network().state_dict()
    state["stem.conv.weight"] = state["stem.conv.weight"].int()
    refused(network(), file(state), "stem.conv.weight is int32", "float32")


class Intruder:
    """A pickle that would write a file when loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.write_text, (Path(self.target), "was here")


def test_code_is_not_run(tmp_path):
    target, path = tmp_path / "intruder", tmp_path / "weights.pth"
    state = {"state_dict": network().state_dict(), "extra": Intruder(str(target))}
    torch.save(state, path)
    refused(network(), path, "code", "state dict")
    torch.save(state, path, _use_new_zipfile_serialization=False)
    refused(network(), path, "code", "state dict")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Intruder(str(target)), protocol=protocol))
        refused(network(), path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [argparse.Namespace(lr=0.1), nn.Linear(2, 2)], ids=["object", "module"]
)
def test_python_objects_are_refused(file, content):
    refused(network(), file({"state_dict": network().state_dict(), "args": content}), "state dict")


@pytest.mark.parametrize(
    "content",
    [[], {}, 7, torch.zeros(3), {"state_dict": {}}, {"epoch": 3}, {1: torch.zeros(1)}],
    ids=repr,
)
def test_files_without_a_state_dict(file, content):
    refused(network(), file(content), "state dict")


def test_the_state_of_another_network(file):
    refused(network(), file(nn.Linear(2, 2).state_dict()), "weight")


def test_missing_files_and_folders(tmp_path):
    refused(network(), tmp_path / "absent.pth", "no such file")
    refused(network(), tmp_path, "folder")


def test_text_and_empty_files(tmp_path):
    for number, content in enumerate((b"", b"\n", b"learning rate: 0.1\n", b"\x80\x02", b"PK\x03")):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(content)
        refused(network(), path, "not a PyTorch checkpoint")


@pytest.mark.parametrize("new_format", [True, False])
def test_truncated_files(file, new_format):
    model = network()
    path = file(model.state_dict(), _use_new_zipfile_serialization=new_format)
    content = path.read_bytes()
    for part in (0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * part)])
        refused(model, path, "damaged")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused(tmp_path, data):
    """Whatever they make of the file, it is still not this network's, and nothing may crash."""
    path = tmp_path / "weights.pth"
    new_format = data.draw(st.booleans())
    torch.save(nn.Linear(2, 2).state_dict(), path, _use_new_zipfile_serialization=new_format)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    refused(network(), path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_foreign_bytes_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    refused(network(), path)


def test_the_package_offers_it():
    assert tdn.load_checkpoint is load_checkpoint


def test_averaged_weights_are_taken_unless_raw_ones_are_wanted(file):
    trained, averaged = network(seed=1), network(seed=2)
    path = file({"model": trained.state_dict(), "ema": averaged.state_dict()})
    model = network()
    report = load_checkpoint(model, path)
    assert_equal(model.state_dict(), averaged.state_dict())
    assert report.averaged
    assert "of averaged weights" in str(report)
    report = load_checkpoint(model, path, raw=True)
    assert_equal(model.state_dict(), trained.state_dict())
    assert not report.averaged
    assert "of averaged weights" not in str(report)
    path = file({"model": trained.state_dict()})
    assert not load_checkpoint(network(), path).averaged
