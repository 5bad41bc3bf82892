from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.datasets.official import DATA_SETS
from tdn.verification.claims import DataSet, read_claims

FILE = Path(__file__).parents[3] / "configs" / "claims.yaml"

# Data, network, frames, crops, clips: top-1, top-5; from the paper and the released code.
PUBLISHED = {
    ("ssv1", "r50", "8", 1, 1): (52.3, 80.6),
    ("ssv1", "r50", "16", 1, 1): (53.9, 82.1),
    ("ssv1", "r101", "8+16", 1, 1): (56.8, None),
    ("ssv2", "r50", "8", 1, 1): (64.0, 88.8),
    ("ssv2", "r50", "16", 1, 1): (65.3, 89.7),
    ("ssv2", "r101", "8", 1, 1): (65.8, 90.2),
    ("ssv2", "r101", "16", 1, 1): (66.9, 90.9),
    ("ssv2", "r101", "8", 3, 1): (67.1, 90.5),
    ("ssv2", "r101", "16", 3, 1): (68.2, 91.6),
    ("ssv2", "r101", "8+16", 1, 1): (68.2, 91.6),
    ("ssv2", "r101", "8+16", 3, 1): (69.6, 92.2),
    ("kinetics400", "r50", "8", 1, 1): (74.0, None),
    ("kinetics400", "r50", "8", 3, 10): (76.6, 92.8),
    ("kinetics400", "r50", "16", 3, 10): (77.5, 93.2),
    ("kinetics400", "r101", "8", 3, 10): (77.5, 93.6),
    ("kinetics400", "r101", "16", 3, 10): (78.5, 93.9),
    ("kinetics400", "r101", "8+16", 3, 10): (79.4, 94.4),
}


def test_the_file_has_every_published_number():
    found = {}
    for claim in read_claims(FILE).claims:
        first = claim.evaluations[0]
        names = [evaluation.recipe.split("_") for evaluation in claim.evaluations]
        backbone = {"tdn_resnet50": "r50", "tdn_resnet101": "r101"}[claim.model]
        assert names == [[first.data, backbone, f"{frames}f"] for frames in claim.frames]
        assert claim.source
        assert 0 < claim.data.tolerance <= 0.5
        published = DATA_SETS[first.data].counts[0]["validation"]
        if isinstance(published, tuple):
            assert (claim.data.videos, claim.data.at_least) == (0, published[0])
        else:
            assert (claim.data.videos, claim.data.at_least) == (published, 0)
        frames = "+".join(map(str, claim.frames))
        key = first.data, backbone, frames, first.crops, first.clips, claim.metric
        assert key not in found
        found[key] = claim.claimed
    assert found == {
        (*key, f"top{k}"): number
        for key, numbers in PUBLISHED.items()
        for k, number in zip((1, 5), numbers, strict=True)
        if number is not None
    }


RECIPE = "model: {name: tdn_resnet10, num_segments: 2, num_classes: 3}\n"
CLAIMS = """\
data:
  demo: {videos: 12, tolerance: 0.3}
claims:
- {data: demo, model: tdn_resnet10, frames: [2], clips: 1, crops: 1, recipes: [small],
   claimed: {top1: 50}, source: nobody}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path / "claims.yaml"


def test_without_mistakes(path):
    path.write_text(CLAIMS)
    (claim,) = read_claims(path).claims
    assert (claim.claimed, claim.data) == (50, DataSet(0.3, videos=12))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CLAIMS, "", ["'data'"]),
        ("claims:\n", "claim:\n", ["claim"]),
        ("data:\n  demo", "data: [1]\nx:\n  demo", ["x"]),
        ("{videos: 12, tolerance: 0.3}", "{videos: 12}", ["demo", "tolerance"]),
        ("tolerance: 0.3", "tolerance: some", ["demo", "some"]),
        ("tolerance: 0.3", "tolerance: .nan", ["demo", "tolerance"]),
        ("tolerance: 0.3", "tolerance: -1", ["demo", "tolerance"]),
        ("videos: 12, ", "", ["demo", "videos", "at_least"]),
        ("videos: 12", "videos: 0", ["demo", "videos", "at_least"]),
        ("videos: 12", "at_least: -1", ["demo", "at_least"]),
        ("videos: 12", "videos: 12, at_least: 3", ["demo", "videos", "at_least"]),
        ("data: demo", "data: other", ["claim 1", "other"]),
        ("crops: 1", "crops: 2", ["claim 1", "crops"]),
        ("clips: 1", "clips: 0", ["claim 1", "clips"]),
        ("crops: 1", "crop: 1", ["claim 1", "crop"]),
        (", source: nobody", "", ["claim 1", "source"]),
        ("{top1: 50}", "{top1: 150}", ["claim 1", "top1"]),
        ("{top1: 50}", "{top3: 50}", ["claim 1", "top1"]),
        ("{top1: 50}", "{}", ["claim 1", "top1"]),
        ("[small]", "[large]", ["claim 1", "large.yaml"]),
        ("[small]", "[small, small]", ["claim 1", "recipe"]),
        ("[2]", "[8]", ["claim 1", "8 frames", "small"]),
        ("tdn_resnet10", "tdn_resnet50", ["claim 1", "tdn_resnet50"]),
        ("- {data", "- 3\n- {data", ["claim 1"]),
        ("data: demo", "data: demo, data: demo", ["claims.yaml", "data"]),
    ],
)
def test_mistakes_are_named_in_one_line(path, old, new, words):
    assert old in CLAIMS
    path.write_text(CLAIMS.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        read_claims(path)
    message = str(error.value)
    assert message.count("\n") == 0
    for word in (str(path), *words):
        assert word in message


@settings(max_examples=40)
@given(st.data())
def test_any_text_is_claims_or_refused_in_a_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("claims")
    (folder / "small.yaml").write_text(RECIPE)
    place = data.draw(st.integers(0, len(CLAIMS)))
    piece = data.draw(st.text("{}[]:,-#&*!'\"\n 1.ax", max_size=8))
    text = CLAIMS[:place] + piece + CLAIMS[place + data.draw(st.integers(0, 8)) :]
    (folder / "claims.yaml").write_text(text)
    message = ""
    try:
        read_claims(folder / "claims.yaml")
    except UserError as error:
        message = str(error)
    assert message.count("\n") == 0
