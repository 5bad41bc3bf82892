from __future__ import annotations

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest

from tdn import cli
from tdn.config_loading import load_config
from tdn.pipelines.datasets.official import DATA_SETS
from tdn.pipelines.loader import create_loader
from tests.archives import ARCHIVES
from tests.sources import write_frame_folder
from tests.videos import write_video

RECIPES = Path(__file__).parents[3] / "configs"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the recipes, and an empty one for archives."""
    (tmp_path / "my archives").mkdir()
    (tmp_path / "configs").symlink_to(RECIPES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(capsys, *words) -> tuple[int, str, str]:
    capsys.readouterr()
    status = cli.main(["prepare", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def next_command(out: str, name: str = "train") -> list[str]:
    words = shlex.split(out.splitlines()[-1].removeprefix("next: "))
    assert words[:2] == ["tdn", name]
    return words[2:]


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_data_set_is_where_its_recipes_look(name, workplace, capsys):
    root = ARCHIVES[name](workplace / "my archives")
    status, out, err = prepare(capsys, name, "my archives")
    assert (status, err) == (1, "")  # of the published clips only a few are in these label files
    assert DATA_SETS[name].title in out
    assert "not those that were published" in out
    words = next_command(out)
    assert (words[0], words[2:]) == ("--config", ["--data.root", "my archives"])
    config = load_config(words[1], words[2:])
    for path in RECIPES.glob(f"{name}_*.yaml"):
        data = load_config(path).data
        for key in ("train_list", "validation_list", "classes"):
            assert getattr(data, key) == getattr(config.data, key)
            assert Path(getattr(data, key)).is_file()
    first = Path(config.data.validation_list).read_text().splitlines()[0]
    assert (root / first.rpartition(" ")[0]).exists()


@pytest.mark.parametrize("name", ["ssv1", "ssv2"])
def test_prepared_clips_can_be_loaded_with_the_recipe(name, workplace, capsys):
    root = ARCHIVES[name](workplace / "my archives")
    folder = root / f"20bn-something-something-v{name[-1]}"
    for clip in folder.iterdir():
        if name == "ssv1":
            shutil.rmtree(clip)
            write_frame_folder(clip, 9, size=(64, 80))
        else:
            clip.unlink()
            write_video(clip.with_suffix(""), 9, size=(64, 80))
    words = next_command(prepare(capsys, name, root)[1])
    config = load_config(words[1], [*words[2:], "--training.device", "cpu"])
    loader = create_loader(config, "validation")
    (batch,) = loader
    assert batch.clips.shape == (2, 8, 5, 224, 224, 3)
    assert batch.labels.tolist() == ([100, 3] if name == "ssv1" else [81, 30])
    assert len(loader.classes) == 174
    assert loader.classes[3].endswith("003, upright")


def test_lists_elsewhere_and_other_splits_are_in_the_next_command(workplace, capsys):
    ARCHIVES["ucf101"](workplace / "my archives")
    for words, folder in ((["--split", 2], "data/ucf101"), (["-o", "lists 2"], "lists 2")):
        _, out, _ = prepare(capsys, "ucf101", "my archives", *words)
        given = next_command(out)
        data = load_config(given[1], given[2:]).data
        split = "split2" if "--split" in words else "split1"
        assert data.train_list == f"{folder}/train_{split}.txt"
        assert data.validation_list == f"{folder}/validation_{split}.txt"
        assert data.classes == f"{folder}/classes.txt"
        assert Path(data.train_list).is_file()


def test_published_numbers_are_success(workplace, capsys, monkeypatch):
    ARCHIVES["ssv1"](workplace / "my archives")
    counts = ({"train": 3, "validation": 2, "test": (1, 2)},)
    published = dataclasses.replace(DATA_SETS["ssv1"], counts=counts)
    monkeypatch.setitem(DATA_SETS, "ssv1", published)
    status, out, err = prepare(capsys, "ssv1", "my archives")
    assert (status, err) == (0, "")
    assert "published" not in out


def test_to_test_a_kinetics_network_the_validation_part_is_enough(workplace, capsys):
    root = ARCHIVES["kinetics400"](workplace / "my archives")
    (root / "annotations" / "train.csv").unlink()
    shutil.rmtree(root / "train")
    for words in ([], ["-o", "lists"]):
        _, out, err = prepare(capsys, "kinetics400", root, *words)
        assert err == ""
        assert out.splitlines()[-1].startswith("next: tdn evaluate ")
        given = next_command(out, "evaluate")
        at = given.index("--checkpoint")
        data = load_config(given[1], [*given[2:at], *given[at + 2 :]]).data
        assert (
            Path(data.validation_list).read_text().startswith("val/3caPS4FHFF8_000036_000046.mp4")
        )
        assert Path(data.classes).read_text().splitlines() == ["abseiling", "riding a bike"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["NAME"]),
        (["ssv3", "my archives"], ["ssv3", "hmdb51"]),
        (["ssv1"], ["ROOT"]),
        (["ssv1", "nowhere"], ["nowhere"]),
        (["ssv1", "my archives"], ["something-something-v1-labels.csv", "--labels"]),
        (["ssv1", "my archives", "--labels", "nowhere"], ["nowhere"]),
        (["ssv1", "my archives", "--split", "2"], ["--split"]),
        (["ucf101", "my archives", "--split", "one"], ["--split"]),
    ],
)
def test_mistakes_are_one_line(workplace, capsys, words, names):
    status, out, err = prepare(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    for name in names:
        assert name in err
    assert not (workplace / "data").exists()


def test_a_folder_that_cannot_be_written_is_one_line(workplace, capsys):
    ARCHIVES["ssv1"](workplace / "my archives")
    (workplace / "file").touch()
    status, out, err = prepare(capsys, "ssv1", "my archives", "-o", "file/lists")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "file/lists" in err
