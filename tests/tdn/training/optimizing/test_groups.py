from __future__ import annotations

import pytest
import torch
from torch import nn

from tdn.config import OptimizerConfig
from tdn.config_loading import dump_config, load_config
from tdn.errors import UserError
from tdn.models import create_model
from tdn.training.optimizing.groups import MULTIPLIER, parameter_groups


def network(**settings: object) -> nn.Module:
    return create_model("tdn_resnet10", num_classes=3, num_segments=2, width=8, **settings)


def names(model: nn.Module, groups: list[dict]) -> dict[str, list[str]]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: [known[id(p)] for p in group["params"]] for group in groups}


def test_without_multipliers_one_group_holds_everything_in_order():
    model = network()
    (group,) = parameter_groups(OptimizerConfig(lr=0.3), model.named_parameters())
    assert all(a is b for a, b in zip(group["params"], model.parameters(), strict=True))
    assert (group["lr"], group["weight_decay"], group[MULTIPLIER]) == (0.3, 5e-4, 1)


def test_each_parameter_is_in_the_group_of_the_longest_name_it_is_under():
    model = network()
    config = OptimizerConfig(
        lr=0.5,
        weight_decay=0.25,
        multipliers={
            "stage1": {"lr": 0.5},
            "stage3": {"lr": 0.0},
            "stage3.0.long_term": {"weight_decay": 2.0},
            "classifier.bias": {"lr": 4.0, "weight_decay": 0.0},
        },
    )
    groups = parameter_groups(config, model.named_parameters())
    members = names(model, groups)
    everything = [name for name, _ in model.named_parameters()]
    assert sorted(sum(members.values(), [])) == sorted(everything)  # noqa: RUF017
    assert members["stage1"] == [n for n in everything if n.startswith("stage1.")]
    long_term = [n for n in everything if n.startswith("stage3.0.long_term.")]
    assert members["stage3.0.long_term"] == long_term
    inside = [n for n in everything if n.startswith("stage3.") and n not in long_term]
    assert members["stage3"] == inside
    assert members["classifier.bias"] == ["classifier.bias"]
    assert any(name.startswith("short_term.stage.") for name in members[""])
    assert {g["name"]: (g["lr"], g[MULTIPLIER], g["weight_decay"]) for g in groups} == {
        "": (0.5, 1.0, 0.25),
        "stage1": (0.25, 0.5, 0.25),
        "stage3": (0.0, 0.0, 0.25),
        "stage3.0.long_term": (0.5, 1.0, 0.5),
        "classifier.bias": (2.0, 4.0, 0.0),
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("stage", "stage[1234]"),
        ("clasifier", "classifier"),
        ("stage3.0.longterm", "stage3.0.long_term"),
        ("module.stage4", "stage4"),
    ],
)
def test_a_name_of_no_part_is_refused_with_the_nearest(name, nearest):
    config = OptimizerConfig(multipliers={name: {"lr": 2.0}})
    with pytest.raises(UserError, match=f"optimizer.multipliers.*'{name}'.*'{nearest}'") as error:
        parameter_groups(config, network().named_parameters())
    assert "\n" not in str(error.value)


def test_what_is_frozen_is_in_no_group_and_cannot_be_multiplied():
    model = network(partial_bn=True)
    groups = parameter_groups(OptimizerConfig(), model.named_parameters())
    assert all(p.requires_grad for p in groups[0]["params"])
    assert len(groups[0]["params"]) < len(list(model.parameters()))
    config = OptimizerConfig(multipliers={"stage2.0.norm1": {"lr": 2.0}})
    with pytest.raises(UserError, match=r"stage2\.0\.norm1.*partial_bn"):
        parameter_groups(config, model.named_parameters())


def test_multipliers_are_read_from_files_and_words(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("model: {num_classes: 3}\noptimizer: {multipliers: {stage1: {lr: 1e-1}}}\n")
    config = load_config(path)
    assert config.optimizer.multipliers == {"stage1": {"lr": 0.1}}
    path.write_text(dump_config(config))
    assert load_config(path) == config
    words = ["--optimizer.multipliers", "{stage2.0: {weight_decay: 0}}"]
    assert load_config(path, words).optimizer.multipliers == {"stage2.0": {"weight_decay": 0.0}}


def test_torch_s_optimizers_take_the_groups():
    model = network()
    config = OptimizerConfig(multipliers={"classifier": {"lr": 10.0}})
    groups = parameter_groups(config, model.named_parameters())
    optimizer = torch.optim.SGD(groups, lr=1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]
