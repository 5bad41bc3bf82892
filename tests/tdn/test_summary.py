from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from tdn import create_model
from tdn.adapter import Anatomy, adapt
from tdn.config import TemporalConfig
from tdn.summary import Cost, summarise, table


@cache
def summary_of(name, classes=174, segments=8, size=224, **settings):
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, num_segments=segments, **settings)
    return summarise(model, size, size)


@pytest.mark.parametrize(
    ("name", "classes", "segments", "released", "giga"),
    [
        ("tdn_resnet50", 174, 8, 24_420_046, 35.64),
        ("tdn_resnet50", 174, 16, 24_420_046, 71.28),
        ("tdn_resnet50", 400, 8, 24_883_120, 35.64),
        ("tdn_resnet101", 174, 8, 43_681_726, 65.84),
        ("tdn_resnet101", 174, 16, 43_681_726, 131.68),
    ],
)
def test_published_networks(name, classes, segments, released, giga):
    summary = summary_of(name, classes, segments)
    assert summary.dead_in_released == 9_472
    assert summary.total.parameters == released - 9_472
    assert round(summary.total.multiply_adds / 1e9, 2) == giga


def test_temporal_modules_cost_little_arithmetic_and_much_traffic():
    summary = summary_of("tdn_resnet50")
    giga = {part: round(cost.multiply_adds / 1e9, 2) for part, cost in summary.parts.items()}
    assert giga == {"S-TDM": 2.28, "L-TDM": 0.63, "temporal conv": 0.03}
    traffic = {part: cost.bytes_moved for part, cost in summary.parts.items()}
    assert traffic["L-TDM"] + traffic["temporal conv"] > 0.3 * summary.total.bytes_moved


def test_an_ablation_has_the_parts_it_has():
    assert summary_of("tsn_resnet50").parts == {}
    assert set(summary_of("ltdm-tconv_resnet18").parts) == {"L-TDM", "temporal conv"}
    partial = summary_of("tdn_resnet18", temporal=TemporalConfig(branches="none"))
    assert partial.parts["L-TDM"].parameters < summary_of("tdn_resnet18").parts["L-TDM"].parameters


@pytest.mark.parametrize(
    ("name", "settings", "released"),
    [
        ("tdn_resnet50", {"temporal": TemporalConfig(stages=(4, 2, 3, 2))}, True),
        ("tdn_resnet101", {"temporal": TemporalConfig(fusion_weights=(0.6, 0.4))}, True),
        ("tdn_resnet50", {"segments": 3, "classes": 7}, True),
        ("tdn_resnet50", {"width": 32}, False),
        ("tdn_resnet50", {"temporal": TemporalConfig(stages=(2, 3))}, False),
        ("tdn_resnet50", {"temporal": TemporalConfig(fusions="second")}, False),
        ("tdn_resnet50", {"temporal": TemporalConfig(directions="next")}, False),
        ("tdn_resnet34", {}, False),
        ("tdn_resnet152", {}, False),
        ("tdms_resnet50", {}, False),
        ("tsn_resnet101", {}, False),
    ],
)
def test_only_a_released_form_is_compared_with_a_released_checkpoint(name, settings, released):
    summary = summary_of(name, size=64, **settings)
    assert summary.dead_in_released == (9_472 if released else None)
    assert ("released" in table(summary, 1)) == released


def test_adapted_networks_have_the_same_parts():
    anatomy = Anatomy(("stem",), ("stage1", "stage2", "stage3", "stage4"), "norm1")
    with torch.device("meta"):
        backbone = create_model("tsn_resnet50", num_classes=2)
        model = adapt(backbone, num_classes=174, anatomy=anatomy)
    summary, ours = summarise(model, 224, 224), summary_of("tdn_resnet50")
    assert summary.parts.keys() == ours.parts.keys()
    stem_bias = backbone.stem.conv.out_channels
    assert summary.parts["S-TDM"].parameters == ours.parts["S-TDM"].parameters + stem_bias
    assert summary.total.multiply_adds == ours.total.multiply_adds
    for part in ("L-TDM", "temporal conv"):
        assert summary.parts[part] == ours.parts[part]
    assert summary.dead_in_released is None


def test_modules_add_up():
    modules = summary_of("tdn_resnet10", size=64, width=16).modules
    for name, cost in modules.items():
        prefix = f"{name}." if name else ""
        children = {
            inner for inner in modules
            if inner != name and inner.startswith(prefix) and "." not in inner[len(prefix) :]
        }  # fmt: skip
        inside = sum((modules[child] for child in children), Cost())
        assert cost.multiply_adds >= inside.multiply_adds
        assert cost.bytes_moved >= inside.bytes_moved
        assert cost.parameters == inside.parameters or not children or name.endswith("temporal")
    top = [cost for name, cost in modules.items() if name and "." not in name]
    total = modules[""]
    assert total.multiply_adds == sum(cost.multiply_adds for cost in top)
    assert total.bytes_moved > sum(cost.bytes_moved for cost in top)  # the stem from uint8, fusions


def test_traffic_is_what_an_operation_reads_and_writes():
    class Three(nn.Module):
        """A batch norm (2 passes), a sum with itself in place (3), a view (0), a fill (1)."""

        num_segments = 2
        temporal = None

        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(5, affine=False, track_running_stats=True)

        def forward(self, clip):
            x = self.norm(torch.empty(2, 5, 8, 8, device=clip.device))
            x.add_(x)
            x.view(-1)
            return x.zero_()

    modules = summarise(Three().to("meta"), 8, 8).modules
    image = 4 * 2 * 5 * 8 * 8
    norm = modules["norm"].bytes_moved
    assert 2 * image < norm < 2.1 * image  # its statistics are read too
    assert modules[""].bytes_moved == norm + 4 * image


def test_the_numbers_are_those_of_a_real_pass():
    """torch's own counter, for convs and linear layers; the temporal one is none in float64."""
    from torch.utils.flop_counter import FlopCounterMode

    model = create_model("tdn_resnet10", num_classes=5, num_segments=2, width=16).double().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 2, 5, 40, 48, 3, dtype=torch.uint8))
    with torch.device("meta"):
        twin = create_model("tdn_resnet10", num_classes=5, num_segments=2, width=16)
    summary = summarise(twin, 40, 48)
    found = summary.total.multiply_adds - summary.parts["temporal conv"].multiply_adds
    assert 2 * found == counter.get_total_flops()


def test_table_depth():
    summary = summary_of("tdn_resnet10", size=64, width=16)
    lengths = [len(table(summary, depth).splitlines()) for depth in (1, 2, 3, 4)]
    assert lengths == sorted(set(lengths))
    lines = table(summary, 1).splitlines()
    names = [line.split("  ")[0] for line in lines[1:] if "MB" in line]
    assert names == [
        "stem", "short_term", "stage1", "stage2", "stage3", "stage4", "classifier",
        "network", "S-TDM", "L-TDM", "temporal conv",
    ]  # fmt: skip
    assert any(line.startswith("stage2.0.long_term") for line in table(summary, 3).splitlines())
