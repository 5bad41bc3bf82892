"""Drawings of networks: every text in them comes from the network."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from tdn import create_model
from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.models import VARIANTS
from tdn.summary import summarise
from tdn.visualization.architecture import architecture_figure
from tdn.visualization.boxes import save_drawing

ROOT = Path(__file__).parents[3]


def texts(path):
    """All lines of text in an SVG file."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Texts of a network's drawing, which is made once."""

    @cache
    def draw(name, size=64, **settings):
        with torch.device("meta"):
            network = create_model(name, num_classes=174, **settings)
        figure = architecture_figure(network, summarise(network, size, size), size, size)
        path = tmp_path_factory.mktemp("drawing") / "network.svg"
        save_drawing(figure, path)
        return texts(path)

    return draw


def test_shapes_and_costs_are_those_of_the_published_network(drawn):
    found = drawn("tdn_resnet50", 224)
    for shape in ("64 x 56 x 56", "256 x 28 x 28", "512 x 28 x 28", "2048 x 7 x 7", "8 x 28 x 28"):
        assert shape in found
    for cost in ("35.64 G", "2.28 G", "0.63 G", "24.41 M"):
        assert any(cost in line for line in found)
    assert "0.5 x + 0.5 d" in found
    assert "→ 174 logits" in found


def test_the_picture_of_the_documentation_is_current(drawn):
    """Made by ``make pictures``; compared by its texts, as lines depend on matplotlib."""
    assert texts(ROOT / "docs/pictures/architecture.svg") == drawn("tdn_resnet50", 224)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_is_drawn_with_what_it_has(drawn, variant):
    ideas, found = VARIANTS[variant], drawn(f"{variant}_resnet18")
    assert found.count("+") == 2 * ideas.short_term + (ideas.long_term or ideas.temporal_conv)
    assert ("own stage 1" in found) == ideas.short_term
    assert found.count("L-TDM") == 4 * ideas.long_term
    assert found.count("temporal conv") == 4 * ideas.temporal_conv
    files = {file for line in found for file in re.findall(r"[\w/]+\.py", line)}
    assert all((ROOT / file).is_file() for file in files)
    assert ("tdn/long_term.py" in files) == ideas.long_term
    assert ("tdn/short_term.py" in files) == ideas.short_term


def test_ablations_within_a_module_are_drawn(drawn):
    temporal = TemporalConfig(
        fusions="first", fusion_weights=(0.6, 0.4), directions="next", branches="half", stages=(4,)
    )
    found = drawn("tdn_resnet10", temporal=temporal)
    assert "own stage 1" not in found
    assert "0.6 x + 0.4 d" in found
    assert "next" in found
    assert "half" in found
    assert "full" not in found
    assert found.count("L-TDM") == 2  # stage 4 and the block


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_other_formats(tmp_path, suffix, head):
    with torch.device("meta"):
        network = create_model("tsn_resnet10", num_classes=2)
    figure = architecture_figure(network, summarise(network, 64, 64), 64, 64)
    save_drawing(figure, tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(head)
    with pytest.raises(UserError):
        save_drawing(figure, Path(f"/proc/nowhere/a.{suffix}"))
