"""What a network's settings may be is the same for every way to make one."""

from __future__ import annotations

import copy
import math
import typing

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tdn import UserError, create_model
from tdn.adapter import Anatomy, adapt
from tdn.config import Config, ModelConfig, TemporalConfig
from tdn.config_loading import check_config, load_config
from tdn.model_rules import check_model
from tdn.models import VARIANTS

WORDS = {
    key: typing.get_args(hint)
    for key, hint in typing.get_type_hints(TemporalConfig).items()
    if typing.get_origin(hint) is typing.Literal
}
NAN, INF = math.nan, math.inf


def by_name(**settings):
    with torch.device("meta"):
        return create_model("tdn_resnet10", **{"num_classes": 2, "width": 16, **settings})


@pytest.fixture(scope="module")
def backbone():
    """One whose parts the adapter can name: a ResNet of ours."""
    return create_model("tsn_resnet10", num_classes=2, width=16)


@pytest.fixture
def by_adapter(backbone):
    anatomy = Anatomy(("stem",), ("stage1", "stage2", "stage3", "stage4"), "norm1")

    def make(**settings):
        return adapt(copy.deepcopy(backbone), anatomy=anatomy, **{"num_classes": 2, **settings})

    return make


def by_config(**settings):
    check_config(Config(model=ModelConfig(**{"num_classes": 2, **settings})))


@pytest.fixture(params=["name", "adapter", "configuration"])
def make(request, by_adapter):
    return {"name": by_name, "adapter": by_adapter, "configuration": by_config}[request.param]


WRONG = [
    *({"num_segments": v} for v in (0, -8, "8", 2.5, True, None, [8], NAN)),
    *({"num_classes": v} for v in (0, "174", 1.0, True, None)),
    *({"dropout": v} for v in (1, -0.1, "x", None, NAN, INF, True, [0.5])),
    *({"fusions": v} for v in ("none", "", None, 1, True, ["both"], ("first", "second"))),
    *({"directions": v} for v in ("fwd", "BOTH", None, 0)),
    *({"branches": v} for v in ("x", None, {"half"})),
    *({"fusion_weights": v} for v in ((0.5,), (1, 2, 3), (NAN, 1), (1.0, INF), "ab", 0.5)),
    *({"fusion_weights": v} for v in (("a", "b"), (True, False), {1, 2}, {}, (None, None), [])),
    *({"stages": v} for v in ((), 2, None, (2, 5), (0,), "234", (2.0,), (True,), ("2",), 2.5)),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_makes_no_network_is_refused_by_its_key_in_one_line(make, wrong):
    ((key, value),) = wrong.items()
    if key in TemporalConfig.__dataclass_fields__:
        key, wrong = f"temporal.{key}", {"temporal": TemporalConfig(**wrong)}
    with pytest.raises(UserError, match=rf"^model\.{key}: ") as refusal:
        make(**wrong)
    assert repr(value) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("temporal", [None, {"fusions": "first"}, TemporalConfig])
def test_details_are_of_their_type(make, temporal):
    with pytest.raises(UserError, match=r"model\.temporal: .*TemporalConfig"):
        make(temporal=temporal)


@pytest.mark.parametrize("make", [by_name, by_config])  # the adapter's probe takes its time
@pytest.mark.parametrize(("key", "word"), [(key, word) for key in WORDS for word in WORDS[key]])
def test_every_word_that_a_type_lists_fits(make, key, word):
    make(temporal=TemporalConfig(**{key: word}))


def test_the_words_are_those_of_the_types():
    assert set(WORDS) == {"fusions", "directions", "branches"}
    for key, words in WORDS.items():
        with pytest.raises(UserError) as refusal:
            by_name(temporal=TemporalConfig(**{key: "?"}))
        assert str(refusal.value).endswith(", ".join(words))


def test_numbers_of_other_libraries_fit(make):
    make(num_segments=np.int64(8), num_classes=np.int32(2), dropout=np.float32(0.5))
    make(dropout=0, temporal=TemporalConfig(fusion_weights=[np.float64(1), 0]))


@pytest.mark.parametrize("stages", [[4, 3, 2], (2, 3, 4, 2), {3, 2, 4}, np.array([2, 4, 3])])
def test_stages_are_a_set(by_adapter, stages):
    for make in (by_name, by_adapter):
        assert make(temporal=TemporalConfig(stages=stages)).temporal == TemporalConfig()
    with torch.device("meta"):
        create_model("tsn_resnet10", num_classes=2, temporal=TemporalConfig(stages=stages))


def test_weights_become_two_floats(by_adapter):
    for make in (by_name, by_adapter):
        model = make(temporal=TemporalConfig(fusion_weights=[1, 0]))
        assert model.temporal.fusion_weights == model.fusion_weights == (1.0, 0.0)
        assert all(type(weight) is float for weight in model.fusion_weights)


def test_a_detail_of_a_module_that_is_not_there(by_adapter):
    for idea, details in (
        ("ltdm", TemporalConfig(fusions="first")),
        ("stdm", TemporalConfig(branches="half")),
        ("tsn", TemporalConfig(stages=(2,))),
    ):
        with pytest.raises(UserError, match=r"^model\.temporal\.\w+ is set, but .* has no ") as e:
            by_adapter(ideas=VARIANTS[idea], temporal=details)
        assert len(str(e.value).splitlines()) == 1


def test_adapted_networks_tell_their_fusion_weights_too(by_adapter, caplog):
    def told(**settings):
        caplog.clear()
        model = by_adapter(**settings)
        return model.fusion_weights, [record.levelname for record in caplog.records]

    assert told(num_segments=8) == ((0.5, 0.5), [])
    assert told(num_segments=11, ideas=VARIANTS["ltdm"])[1] == []
    assert told(num_segments=11) == ((0.75, 0.25), ["WARNING"])
    assert told(num_segments=11) == ((0.75, 0.25), [])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("fusion_weights: [.nan, 1]", "fusion_weights"),
        ("fusion_weights: [1, .inf]", "fusion_weights"),
        ("stages: [2, 7]", "stages"),
        ("stages: []", "stages"),
    ],
)
def test_files_are_checked_before_anything_is_made(tmp_path, text, key):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model:\n  num_classes: 2\n  temporal:\n    {text}\n")
    with pytest.raises(UserError, match=rf"^model\.temporal\.{key}: "):
        load_config(path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 6) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(
    numbers=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("num_segments", "num_classes", "dropout"), ANYTHING)
    ),
    details=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("fusions", "branches", "stages", "fusion_weights"), ANYTHING)
    ),
)
def test_anything_is_taken_or_refused_in_one_line(numbers, details):
    settings = ModelConfig(**{"num_classes": 2, **numbers}, temporal=TemporalConfig(**details))
    message = ""
    try:
        temporal = check_model("it", VARIANTS["tdn"], settings)
        again = ModelConfig(num_classes=1, temporal=temporal)
        assert check_model("it", VARIANTS["tdn"], again) == temporal
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
