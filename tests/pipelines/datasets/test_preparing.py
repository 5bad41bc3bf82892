from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.datasets.official import DATA_SETS
from tdn.pipelines.datasets.preparing import prepare
from tdn.pipelines.sources.listing import read_class_names
from tdn.pipelines.sources.reading import read_listing
from tests.archives import ARCHIVES, PLAIN, touch

VERSION_1, VERSION_2 = "20bn-something-something-v1", "20bn-something-something-v2"
TRAIN_CSV = "something-something-v1-train.csv"

EXPECTED = {
    "ssv1": {
        "train": [f"{VERSION_1}/{n} {n * 5}" for n in (12, 7, 31)],
        "validation": [f"{VERSION_1}/100 100", f"{VERSION_1}/3 3"],
        "test": [f"{VERSION_1}/55", f"{VERSION_1}/4"],
    },
    "ssv2": {
        "train": [f"{VERSION_2}/{n}.webm {n}" for n in (9, 2, 170)],
        "validation": [f"{VERSION_2}/81.webm 81", f"{VERSION_2}/30.webm 30"],
        "test": [f"{VERSION_2}/44.webm", f"{VERSION_2}/45.webm"],
    },
    "kinetics400": {
        "train": [
            "train/riding_a_bike/-3B32lodo2M_000059_000069.mp4 2",
            "train/abseiling/0wR5jVB-WPk_000417_000427.mp4 0",
            "train/massaging_person's_head/_abc_DEF-12_000000_000010.mp4 1",
        ],
        "validation": [
            "val/3caPS4FHFF8_000036_000046.mp4 0",
            "val/3yaoNwz99xM_000062_000072.mkv 2",
        ],
    },
    "ucf101": {
        "train_split1": [
            "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 0",
            "UCF-101/HandstandPushups/v_HandStandPushups_g08_c01.avi 1",
        ],
        "validation_split1": [
            "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 0",
            "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi 1",
        ],
    },
    "hmdb51": {
        "train_split1": [
            "hmdb51_org/brush_hair/clip_1.avi 0",
            "hmdb51_org/brush_hair/(HQ)_scene;_3.avi 0",
            "hmdb51_org/clap/#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi 1",
        ],
        "validation_split1": [
            "hmdb51_org/brush_hair/#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi 0",
            "hmdb51_org/clap/clip_1.avi 1",
        ],
    },
}
CLASSES = {
    "ssv1": PLAIN,
    "ssv2": PLAIN,
    "kinetics400": ("abseiling", "massaging person's head", "riding a bike"),
    "ucf101": ("ApplyEyeMakeup", "HandstandPushups"),
    "hmdb51": ("brush_hair", "clap"),
}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "archives"
    root.mkdir()
    return root


def lists(output):
    names = {path.stem: path.read_text().splitlines() for path in output.glob("*.txt")}
    names.pop("classes", None)
    return names


def refusal(*arguments, **options) -> str:
    with pytest.raises(UserError) as error:
        prepare(*arguments, **options)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("name", ARCHIVES)
def test_label_files_become_lists_in_their_own_order(name, root, tmp_path):
    output = tmp_path / "lists"
    prepared = prepare(name, ARCHIVES[name](root), output)
    assert lists(output) == EXPECTED[name]
    assert read_class_names(prepared.classes) == CLASSES[name]
    for part in prepared.parts.values():
        assert (part.listed, part.there) == (len(lists(output)[part.path.stem]),) * 2
        if part.labelled:
            listing = read_listing(part.path, CLASSES[name])
            assert [f"{p} {n}" for p, n in zip(listing.paths, listing.labels, strict=True)] == (
                lists(output)[part.path.stem]
            )
            assert all((root / path).exists() for path in listing.paths)


def test_the_owners_counts_are_the_published_ones():
    counts = {name: data.counts for name, data in DATA_SETS.items()}
    assert counts["ssv1"] == ({"train": 86_017, "validation": 11_522, "test": 10_960},)
    assert counts["ssv2"] == ({"train": 168_913, "validation": 24_777, "test": 27_157},)
    assert sum(counts["ssv1"][0].values()) == 108_499
    assert sum(counts["ssv2"][0].values()) == 220_847
    assert counts["ucf101"][0] == {"train": 9_537, "validation": 3_783}
    assert {sum(split.values()) for split in counts["ucf101"]} == {13_320}
    assert counts["hmdb51"] == ({"train": 51 * 70, "validation": 51 * 30},) * 3
    (kinetics,) = counts["kinetics400"]
    for part, copies in (("train", (234_619, 240_436)), ("validation", (19_761, 19_796))):
        fewest, most = kinetics[part]
        assert fewest < min(copies) < max(copies) < most
        assert most - fewest < 0.2 * most
    classes = {name: data.classes for name, data in DATA_SETS.items()}
    assert classes == {"ssv1": 174, "ssv2": 174, "kinetics400": 400, "ucf101": 101, "hmdb51": 51}


def test_other_counts_than_the_published_ones_are_told(root, tmp_path, monkeypatch):
    ARCHIVES["ssv1"](root)
    prepared = prepare("ssv1", root, tmp_path / "lists")
    assert not prepared.as_published
    assert "86,017" in str(prepared)
    counts = ({"train": 3, "validation": 2, "test": 2},)
    monkeypatch.setitem(
        DATA_SETS, "ssv1", type(DATA_SETS["ssv1"])("V1", "x", DATA_SETS["ssv1"].read, 174, counts)
    )
    prepared = prepare("ssv1", root, tmp_path / "lists")
    assert prepared.as_published
    assert "published" not in str(prepared)


def test_kinetics_clips_are_counted_too(root, tmp_path, monkeypatch):
    """Their number varies, but not by much."""
    ARCHIVES["kinetics400"](root)
    prepared = prepare("kinetics400", root, tmp_path / "lists")
    assert [part.as_published for part in prepared.parts.values()] == [False, False]
    assert "19,000 to 20,000" in str(prepared)
    kinetics = DATA_SETS["kinetics400"]
    for fewest, most, fits in ((1, 2, True), (2, 3, True), (3, 9, False), (0, 1, False)):
        counts = ({"train": (3, 3), "validation": (fewest, most)},)
        known = dataclasses.replace(kinetics, classes=3, counts=counts)
        monkeypatch.setitem(DATA_SETS, "kinetics400", known)
        assert prepare("kinetics400", root, tmp_path / "lists").as_published == fits


def test_what_is_missing_is_counted_and_named_and_left_out(root, tmp_path):
    ARCHIVES["ssv2"](root)
    videos, output = root / VERSION_2, tmp_path / "lists"
    for clip in (2, 81, 45):
        (videos / f"{clip}.webm").rename(videos / f"{clip}.part")
    prepared = prepare("ssv2", root, output)
    assert {n: (part.listed, part.there) for n, part in prepared.parts.items()} == {
        "train": (3, 2),
        "validation": (2, 1),
        "test": (2, 1),
    }
    assert prepared.missing == output / "missing.txt"
    assert lists(output)["missing"] == ["train 2", "validation 81", "test 45"]
    assert lists(output)["train"] == [f"{VERSION_2}/{n}.webm {n}" for n in (9, 170)]
    assert str(prepared).count("1 missing") == 3
    for clip in (2, 81, 45):
        (videos / f"{clip}.part").rename(videos / f"{clip}.webm")
    prepared = prepare("ssv2", root, output)
    assert prepared.missing is None
    assert lists(output) == EXPECTED["ssv2"]


def test_a_part_without_any_clip_has_no_list(root, tmp_path):
    """Who tests a released network needs the validation videos alone."""
    ARCHIVES["kinetics400"](root)
    prepare("kinetics400", root, tmp_path / "lists")
    shutil.rmtree(root / "train")
    prepared = prepare("kinetics400", root, tmp_path / "lists")
    assert prepared.parts["train"].there == 0
    assert set(lists(tmp_path / "lists")) == {"validation", "missing"}


def test_answers_give_the_test_part_labels(root, tmp_path):
    ARCHIVES["ssv2"](root)
    answers = f"45;{PLAIN[8]}\n44;{PLAIN[0]}\n"
    (root / "labels" / "test-answers.csv").write_text(answers)
    prepare("ssv2", root, tmp_path / "lists")
    assert lists(tmp_path / "lists")["test"] == [
        f"{VERSION_2}/45.webm 8",
        f"{VERSION_2}/44.webm 0",
    ]


def test_numbers_of_version_2_are_those_of_its_file(root, tmp_path):
    """The released networks count alphabetically, and so does the owner: but the file decides."""
    ARCHIVES["ssv2"](root)
    numbers = {name: str(173 - label) for label, name in enumerate(PLAIN)}
    (root / "labels" / "labels.json").write_text(json.dumps(numbers))
    prepared = prepare("ssv2", root, tmp_path / "lists")
    assert read_class_names(prepared.classes) == PLAIN[::-1]
    assert lists(tmp_path / "lists")["validation"][0].endswith(f" {173 - 81}")


@pytest.mark.parametrize("name", ["ucf101", "hmdb51"])
def test_other_splits(name, root, tmp_path):
    ARCHIVES[name](root)
    output = tmp_path / "lists"
    prepare(name, root, output)
    prepare(name, root, output, split=2)
    found = lists(output)
    assert found["train_split1"] == EXPECTED[name]["train_split1"]
    if name == "ucf101":
        assert found["train_split2"] == EXPECTED[name]["validation_split1"]
    for split in (0, 4):
        assert "--split" in refusal(name, root, output, split=split)
    assert "--split" in refusal("ssv1", root, output, split=2)


def test_label_files_and_videos_apart_and_behind_links(root, tmp_path):
    ARCHIVES["ssv1"](root)
    labels = tmp_path / "csv"
    labels.mkdir()
    for path in root.glob("*.csv"):
        path.rename(labels / path.name.removeprefix("something-something-v1-"))
    store = tmp_path / "store"
    (root / VERSION_1).rename(store)
    (root / VERSION_1).symlink_to(store)
    (store / "loop").symlink_to(root)
    (store / "12").rename(root / "12")
    prepare("ssv1", root, tmp_path / "lists", labels=labels)
    first = {"train": ["12 60", *EXPECTED["ssv1"]["train"][1:]]}
    assert lists(tmp_path / "lists") == EXPECTED["ssv1"] | first


def test_frames_of_videos_are_found_too(root, tmp_path):
    ARCHIVES["ucf101"](root)
    for path in list((root / "UCF-101").rglob("*.avi")):
        path.unlink()
        touch(root / "frames" / path.stem, "img_00001.jpg", "flow_x_00001.jpg")
    prepare("ucf101", root, tmp_path / "lists")
    train = lists(tmp_path / "lists")["train_split1"]
    assert train[0] == "frames/v_ApplyEyeMakeup_g08_c01 0"


def test_replacements_of_corrupted_videos_win(root, tmp_path):
    ARCHIVES["kinetics400"](root)
    name = "0wR5jVB-WPk_000417_000427.mp4"
    touch(root / "replacement" / "replacement_for_corrupted_k400", name)
    prepare("kinetics400", root, tmp_path / "lists")
    assert lists(tmp_path / "lists")["train"][1] == (
        f"replacement/replacement_for_corrupted_k400/{name} 0"
    )


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


MISTAKES = {
    "no archives": ("ssv1", shutil.rmtree, ["archives"]),
    "no labels": ("ssv2", lambda r: shutil.rmtree(r / "labels"), ["labels.json", "--labels"]),
    "no train": ("ssv1", lambda r: (r / TRAIN_CSV).unlink(), [TRAIN_CSV, "annotations"]),
    "no splits": (
        "hmdb51",
        lambda r: shutil.rmtree(r / "testTrainMulti_7030_splits"),
        ["_test_split1.txt", "testTrainMulti_7030_splits"],
    ),
    "no videos": ("ssv1", lambda r: shutil.rmtree(r / VERSION_1), ["none of the 7", "12"]),
    "no template": ("ssv1", lambda r: rewrite(r / TRAIN_CSV, ";", ","), [f"{TRAIN_CSV}:1"]),
    "unknown template": (
        "ssv1",
        lambda r: rewrite(r / TRAIN_CSV, "7;Holding", "7;Folding"),
        [f"{TRAIN_CSV}:2", "Folding", "174"],
    ),
    "twice": ("ssv1", lambda r: rewrite(r / TRAIN_CSV, "12;", "100;"), ["'100' twice"]),
    "other JSON": (
        "ssv2",
        lambda r: (r / "labels" / "train.json").write_text('{"a": 1}'),
        ["train.json"],
    ),
    "cut JSON": (
        "ssv2",
        lambda r: rewrite(r / "labels" / "validation.json", "}]", "}"),
        ["validation.json:1"],
    ),
    "no id": (
        "ssv2",
        lambda r: rewrite(r / "labels" / "train.json", '"id": "2"', '"id": null'),
        ["train.json", "clip 2", "id"],
    ),
    "gap in numbers": (
        "ssv2",
        lambda r: rewrite(r / "labels" / "labels.json", '"5"', '"999"'),
        ["labels.json"],
    ),
    "no column": (
        "kinetics400",
        lambda r: rewrite(r / "annotations" / "val.csv", "youtube_id", "id"),
        ["val.csv", "youtube_id"],
    ),
    "no validation": (
        "kinetics400",
        lambda r: (r / "annotations" / "val.csv").unlink(),
        ["val.csv", "--labels"],
    ),
    "no time": (
        "kinetics400",
        lambda r: rewrite(r / "annotations" / "train.csv", "417", "soon"),
        ["train.csv:3", "soon"],
    ),
    "short row": (
        "kinetics400",
        lambda r: rewrite(r / "annotations" / "val.csv", ",36,46,validate", ""),
        ["val.csv:2"],
    ),
    "unknown class": (
        "kinetics400",
        lambda r: rewrite(r / "annotations" / "val.csv", "abseiling", "reading"),
        ["val.csv:2", "reading"],
    ),
    "wrong number": (
        "ucf101",
        lambda r: rewrite(r / "ucfTrainTestlist" / "trainlist01.txt", "avi 2", "avi 1"),
        ["trainlist01.txt:2", "2"],
    ),
    "wrong index": (
        "ucf101",
        lambda r: rewrite(r / "ucfTrainTestlist" / "classInd.txt", "2 ", "3 "),
        ["classInd.txt:2"],
    ),
    "no split number": (
        "hmdb51",
        lambda r: rewrite(r / "testTrainMulti_7030_splits" / "clap_test_split1.txt", " 1", " 3"),
        ["clap_test_split1.txt:1"],
    ),
    "two videos": (
        "ssv2",
        lambda r: touch(r / "copy", "30.mp4"),
        ["30", "copy/30.mp4", f"{VERSION_2}/30.webm", "--labels"],
    ),
    "no UTF-8": ("ssv1", lambda r: (r / TRAIN_CSV).write_bytes(b"1;\xff"), [TRAIN_CSV]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_a_line_and_nothing_is_written(mistake, root, tmp_path):
    name, spoil, words = MISTAKES[mistake]
    spoil(ARCHIVES[name](root))
    message = refusal(name, root, tmp_path / "lists")
    for word in words:
        assert word in message
    assert not (tmp_path / "lists").exists()


TEXTS = st.text(
    st.one_of(st.sampled_from('0123456789 ;,"[]{}:\\\n\r\t./avi'), st.characters()), max_size=40
)


@pytest.mark.parametrize("name", ARCHIVES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_foreign_label_files_are_lists_or_refused_in_a_line(name, data, tmp_path_factory):
    """Any label file with any piece of text put into it or taken out."""
    root = ARCHIVES[name](tmp_path_factory.mktemp("archives"))
    files = sorted(p for p in root.rglob("*.*") if p.suffix in (".csv", ".json", ".txt"))
    path = data.draw(st.sampled_from(files))
    text = path.read_text()
    place = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 12))
    text = text[:place] + data.draw(TEXTS) + text[place + removed :]
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    output = root / "lists"
    try:
        prepared = prepare(name, root, output)
    except UserError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert len(refused.splitlines()) == 1
        assert not output.exists()
        return
    classes = read_class_names(prepared.classes)
    assert len(classes) == prepared.num_classes
    for part in prepared.parts.values():
        if part.labelled and part.there:
            listing = read_listing(part.path, classes)
            assert len(listing.paths) == part.there
            assert all((root / path).exists() for path in listing.paths)
