"""Weights back under the released code's keys."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness.literal_tdn import LiteralTDN
from tdn import UserError, create_model, load_checkpoint
from tdn.checkpoint import UPSTREAM, export_upstream
from tests.tdn import upstream_recipe as recipe


def network(name="tdn_resnet10", seed=0, **settings):
    torch.manual_seed(seed)
    settings = {"num_segments": 2, "num_classes": 5, "width": 8, **settings}
    return create_model(name, **settings)


@pytest.fixture
def file(tmp_path):
    """Saves something and returns the path."""

    def save(content):
        torch.save(content, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return save


@pytest.fixture
def released():
    """A small network's state under the released code's keys, dead conv and prefix included."""
    literal = LiteralTDN((1, 1, 1, 1), False, width=8, t=2, classes=5)
    return {f"module.{key}": value for key, value in literal.state_dict().items()}


def head_in_the_backbone(state):
    return {key.replace("new_fc", "base_model.fc"): value for key, value in state.items()}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("name", ["tdn_resnet10", "tdn_resnet50", "tsn_resnet10"])
def test_export_and_back(file, name, dropout):
    model = network(name, dropout=dropout)
    exported = export_upstream(model)
    head = "module.base_model.fc.weight" if dropout == 0 else "module.new_fc.weight"
    assert exported[head].equal(model.classifier.weight)
    other = network(name, seed=1)
    report = load_checkpoint(other, file({"state_dict": exported}))
    assert report.format == UPSTREAM
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def head_of(exported):
    """Where the classifier is, and how many tensors there are of it."""
    heads = [key for key in exported if key.startswith(("module.new_fc", "module.base_model.fc"))]
    return heads[0].removesuffix(".weight").removeprefix("module."), len(heads)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_head_goes_where_the_loaded_file_had_it(file, released, dropout):
    """Whatever the network's dropout; what is loaded later counts."""
    own = "base_model.fc" if dropout == 0 else "new_fc"
    model = network(dropout=dropout)
    assert head_of(export_upstream(model)) == (own, 2)
    for state, head in (
        (released, "new_fc"),
        (head_in_the_backbone(released), "base_model.fc"),
        (network().state_dict(), own),
    ):
        load_checkpoint(model, file(state))
        assert head_of(export_upstream(model)) == (head, 2)
    for head in ("new_fc", "base_model.fc"):
        load_checkpoint(model, file(released))
        assert head_of(export_upstream(model, head=head)) == (head, 2)


@pytest.mark.parametrize("change", [dict, head_in_the_backbone])
def test_a_new_head_goes_where_dropout_has_it(file, released, change):
    for dropout, head in ((0.0, "base_model.fc"), (0.5, "new_fc")):
        model = network(dropout=dropout)
        load_checkpoint(model, file(change(released)), new_head=True)
        assert head_of(export_upstream(model)) == (head, 2)


@pytest.mark.parametrize("head", ["fc", "", "module.new_fc", 1])
def test_there_is_no_other_head(head):
    with pytest.raises(UserError, match=r"base_model\.fc") as refusal:
        export_upstream(network(), head=head)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_refused_file_does_not_move_the_head(file, released):
    model = network(num_classes=6)
    with pytest.raises(UserError, match="classes"):
        load_checkpoint(model, file(head_in_the_backbone(released)))
    assert head_of(export_upstream(model)) == ("new_fc", 2)


def test_export_is_what_the_released_code_loads_strictly():
    model = create_model("tdn_resnet50", num_classes=174)
    exported = export_upstream(model)
    assert [(key, tuple(v.shape)) for key, v in exported.items()] == [*recipe.inventory().items()]
    assert all(v.count_nonzero() == 0 for key, v in exported.items() if "conv1_temp" in key)
