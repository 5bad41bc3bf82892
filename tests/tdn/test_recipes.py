from __future__ import annotations

from pathlib import Path

import pytest

from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.recipes import RECIPES, find_recipe


def test_a_recipe_works_from_any_folder_and_gives_way_to_a_file_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Path("configs/ssv2_r50_8f.yaml")
    assert find_recipe(str(recipe)) == RECIPES / recipe.name
    assert load_config(recipe, ["--seed", "5"]).model.name == "tdn_resnet50"
    recipe.parent.mkdir()
    recipe.write_text("model: {name: tsn_resnet18, num_classes: 3}\n")
    assert find_recipe(recipe) == recipe
    assert load_config(recipe).model.name == "tsn_resnet18"


@pytest.mark.parametrize("path", ["demo.yaml", "configs/none.yaml", "my/configs/demo.yaml"])
def test_no_other_file_is_taken_for_one(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(path) == Path(path)
    with pytest.raises(UserError, match=path):
        load_config(path)
