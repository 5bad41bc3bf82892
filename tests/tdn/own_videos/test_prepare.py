"""What becomes of a command before anything is trained."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from tdn.config import Config, DataConfig
from tdn.config_loading import dump_config, load_config
from tdn.errors import UserError
from tdn.own_videos import prepare as module
from tdn.own_videos.choices import Videos
from tdn.own_videos.copies import are_worth_it
from tdn.own_videos.lists import Lists
from tdn.own_videos.machine import Machine
from tdn.own_videos.prepare import prepare
from tdn.own_videos.request import Request, given_keys, without
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.training.saving import checkpoint_file
from tests.videos import write_list, write_video

SECONDS = 2.5


@pytest.fixture(autouse=True)
def no_trial(monkeypatch):
    """An epoch takes so long, and the memory is enough."""
    monkeypatch.setattr(
        module, "measure_epoch", lambda config, _together: (SECONDS, config.data.batch_size)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("prepared") / "videos"
    for number in range(8):
        path = root / ("left hand", "right hand")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, 3, codec="mpeg4", size=(32, 48), title=str(number))
    return root


def prepared(*words: object, minutes: float | None = None) -> module.Prepared:
    return prepare(Request.of(["--training.device", "cpu", *map(str, words)], minutes))


def test_keys_are_found_among_words():
    words = ["--seed=3", "--optimizer.lr", "-1", "--model.temporal.stages", "[3]"]
    assert given_keys(words) == {"seed", "optimizer.lr", "model.temporal.stages"}
    assert without(words, ("optimizer.lr", "seed")) == ["--model.temporal.stages", "[3]"]
    assert without(words, ()) == words


def test_the_configuration_is_complete_and_stands_for_itself(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = prepared("--data.root", root).config
    kept = load_config("runs/videos/config.yaml")
    assert kept.model.num_classes == 2
    assert kept.data.flip_labels == {0: 1, 1: 0}
    assert kept.training == config.training
    for path in (kept.data.train_list, kept.data.validation_list, kept.data.classes):
        assert Path(path).is_absolute()
        assert Path(path).is_file()
    told = capsys.readouterr().out
    assert told.count("training.epochs") == 1
    for key in ("model.name", "data.batch_size", "data.crop_size", "optimizer.lr"):
        assert f"  {key} " in told


def test_the_second_time_all_is_as_it_was_but_what_is_asked_for(root, tmp_path):
    words = ["--data.root", root, "--output", tmp_path / "run"]
    first = prepared(*words).config
    again = prepared(*words, "--optimizer.lr", "0.5").config
    assert again.optimizer.lr == 0.5
    again.optimizer.lr = first.optimizer.lr
    assert (again.model, again.training, again.optimizer) == (
        first.model,
        first.training,
        first.optimizer,
    )
    longer = prepared(*words, minutes=60)
    assert longer.config.training.epochs == int(60 * 60 / SECONDS)
    assert prepared(*words, "--training.epochs", "7", minutes=60).config.training.epochs == 7


def test_with_fewer_gpus_a_step_has_the_same_clips(root, tmp_path, monkeypatch):
    words = ["--data.root", root, "--output", tmp_path]
    prepared(*words)
    record = tmp_path / "own-videos.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"processes": 4}))
    for gpus, processes in ((0, 1), (3, 2), (8, 4)):
        monkeypatch.setattr(module, "this_machine", lambda *_, n=gpus: Machine(2, 10**10, n))
        made = prepared(*words)
        assert (made.processes, made.config.training.accumulate) == (processes, 4 // processes)
        # The trainer writes it to the run's configuration, from where it must not add up.
        (tmp_path / "config.yaml").write_text(dump_config(made.config))
    assert prepared(*words, "--training.accumulate", "3").config.training.accumulate == 3


def test_minutes_decide_how_long_it_trains(root, tmp_path):
    short = prepared("--data.root", root, "--output", tmp_path, minutes=0.5)
    assert short.config.training.epochs == int(30 / SECONDS)


@pytest.mark.parametrize(
    ("words", "key"),
    [(["--seed", "1"], "seed"), (["--data.root", "ROOT/.."], "data.root")],
)
def test_another_split_or_folder_is_another_run(root, tmp_path, words, key):
    prepared("--data.root", root, "--output", tmp_path / "run")
    words = [word.replace("ROOT", str(root)) for word in words]
    with pytest.raises(UserError, match=f"^{key}: .*another --output"):
        prepared("--data.root", root, "--output", tmp_path / "run", *words)


def test_a_run_is_found_by_any_spelling_of_its_paths(root, tmp_path, monkeypatch):
    names = tmp_path / "names.txt"
    names.write_text("right hand\nleft hand\n")
    words = ["--output", tmp_path / "run", "--data.classes", names]
    kept = prepared("--data.root", root, *words).config.data
    monkeypatch.chdir(root / "left hand")
    again = prepared("--data.root", "../../videos", *words).config.data
    assert again == kept
    names.write_text("left hand\nright hand\n")
    with pytest.raises(UserError, match=r"^data.classes: .*another --output"):
        prepared("--data.root", root, *words)


def test_no_setting_of_a_run_that_is_there_is_ignored_in_silence(root, tmp_path, capsys):
    words = ["--data.root", root, "--output", tmp_path, "--training.epochs", "6"]
    prepared(*words)
    written = (tmp_path / "config.yaml").read_text()
    (tmp_path / "metrics.json").touch()

    def refuses(key: str, *more: str) -> str:
        with pytest.raises(UserError, match=f"^{key}: .*--output") as refused:
            prepared(*words, *more)
        assert (tmp_path / "config.yaml").read_text() == written
        return str(refused.value)

    # What it is made of never changes, whether the file is there or not.
    assert "nothere.pth" in refuses("model.pretrained", "--model.pretrained", "nothere.pth")
    refuses("model.width", "--model.width", "8")
    # What still acts is told.
    capsys.readouterr()
    assert prepared(*words, "--optimizer.lr", "0.5").config.optimizer.lr == 0.5
    assert "optimizer.lr: 0.5" in capsys.readouterr().out

    (tmp_path / "checkpoints").mkdir()
    state = dict.fromkeys(checkpoint_file._NEEDED, 0) | {"epoch": 6}
    checkpoint_file.write_checkpoint(tmp_path / "checkpoints" / "last.pt", state)
    prepared(*words)
    told = refuses("optimizer.lr", "--optimizer.lr", "0.5")
    assert "0.5" in told
    assert "--training.epochs 12" in told
    refuses("data.flip", "--data.flip", "false")
    refuses("training.epochs", "--training.epochs", "3")
    longer = prepared(*words, "--optimizer.lr", "0.5", "--training.epochs", "12").config
    assert (longer.optimizer.lr, longer.training.epochs) == (0.5, 12)
    # A test asked for otherwise is done again, and its settings are kept; others are not.
    assert (tmp_path / "metrics.json").exists()
    prepared(*words, "--evaluation.clips", "2", "--data.num_threads", "1")
    assert not (tmp_path / "metrics.json").exists()
    assert prepared(*words).config.evaluation.clips == 2
    now = (tmp_path / "config.yaml").read_text()
    assert now.replace("clips: 2", "clips: 1") == written
    # Fewer minutes than it took.
    with pytest.raises(UserError, match=r"^--minutes: "):
        prepared(*words[:-2], minutes=0.1)


def test_a_run_with_a_configuration_is_left_alone(root, tmp_path):
    (tmp_path / "config.yaml").write_text("model: {num_classes: 3}\n")
    with pytest.raises(UserError, match="holds a run"):
        prepared("--data.root", root, "--output", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_given_lists_are_not_divided(root, tmp_path):
    rows = [(path, number % 3) for number, path in enumerate(sorted(root.rglob("*.mp4")))]
    train = write_list(tmp_path / "train.txt", rows[:5])
    validation = write_list(tmp_path / "validation.txt", rows[5:])
    lists = ["--data.train_list", train, "--data.validation_list", validation]
    config = prepared(*lists, "--output", tmp_path / "run").config
    assert config.model.num_classes == 3
    assert (config.data.train_list, config.data.validation_list) == (str(train), str(validation))
    assert not (tmp_path / "run" / "train.csv").exists()
    about = json.loads((tmp_path / "run" / "own-videos.json").read_text())["about"]
    assert about["train_list"] == str(train)


def test_given_lists_in_the_run_folder_are_never_written_nor_removed(root, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.mp4"))
    for name in ("train", "validation"):
        write_list(tmp_path / f"{name}.csv", [(path, row % 2) for row, path in enumerate(names)])
    lists = [word for path in tmp_path.iterdir() for word in (f"--data.{path.stem}_list", path)]
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    monkeypatch.setattr(module, "measure_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(*lists, "--data.root", root, "--output", tmp_path)
    with pytest.raises(UserError, match=r"^output: .*/train.csv is there already"):
        prepared("--data.root", root, "--output", tmp_path)
    # Their paths are taken from their own folder, which holds no videos.
    with pytest.raises(
        UserError, match=r"train.csv: none of its 8 videos is usable, the first one"
    ):
        prepared(*lists, "--output", tmp_path)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_lists_of_a_start_that_was_killed_are_written_again(root, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Lists, "remove", lambda _lists: None)
        patch.setattr(module, "measure_epoch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepared("--data.root", root, "--output", run)
    left = (run / "train.csv").read_text()
    assert prepared("--data.root", root, "--output", run).config.model.num_classes == 2
    assert (run / "train.csv").read_text() == left


def test_names_of_classes_may_be_given(root, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("right hand\nleft hand\nboth\n")
    words = ["--data.root", root, "--data.classes", names, "--output", tmp_path / "run"]
    assert prepared(*words).config.model.num_classes == 3
    assert (tmp_path / "run" / "classes.txt").read_text() == names.read_text()
    names.write_text("right hand\nboth\n")
    with pytest.raises(UserError, match="left hand"):
        prepared("--data.root", root, "--data.classes", names, "--output", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_large_videos_are_trained_on_as_small_copies(tmp_path, monkeypatch):
    root = tmp_path / "large"
    for name in ("closing", "opening"):
        (root / name).mkdir(parents=True)
        for number in range(2):
            title = f"{name} {number}"
            write_video(root / name / f"{number}", 3, codec="h264", size=(360, 480), title=title)
    words = ["--data.root", root, "--output", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "measure_epoch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepared(*words, "--data.crop_size", "96", "--data.short_side", "96")
    config = prepared(*words).config
    train, validation = (
        manifest_of(source, config.data.root, classes=("closing", "opening"))
        for source in (config.data.train_list, config.data.validation_list)
    )
    for manifest, height in ((train, 176), (validation, 360)):
        assert manifest.labels.tolist() == [0, 1]
        assert manifest.table["height"].to_pylist() == [height, height]
        assert manifest.frames.tolist() == [3, 3]
    listed = (tmp_path / "run" / "train.csv").read_text().splitlines()[1:]
    for row, line in enumerate(listed):
        path, name = line.split(",")
        assert Path(train.value(row, "path")).parts[-2] == name == Path(path).parts[0]


def test_small_videos_and_a_gpu_need_no_copies():
    config = Config(data=DataConfig(crop_size=112, short_side=128))
    large = Videos(10, ("a", "b"), 1080)
    assert are_worth_it(config, Machine(2, 10**10), large)
    assert not are_worth_it(config, Machine(2, 10**10), large._replace(side=240))
    assert not are_worth_it(config, Machine(2, 10**10, 1, "GPU"), large)


def test_a_division_that_is_there_is_kept_and_what_leaks_is_told(root, tmp_path, capsys):
    divided = tmp_path / "divided"
    videos = sorted(root.rglob("*.mp4"))
    places = {"train": videos[:3] + videos[4:7], "val": [videos[0], videos[3], videos[7]]}
    for side, paths in places.items():
        for path in paths:
            copy = divided / side / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    prepared("--data.root", divided, "--output", tmp_path / "run")
    for side, name in (("train", "train"), ("val", "validation")):
        listed = (tmp_path / "run" / f"{name}.csv").read_text().splitlines()[1:]
        assert {line.split(",")[0] for line in listed} == {
            f"{side}/{path.parent.name}/{path.name}" for path in places[side]
        }
    told = capsys.readouterr().out
    assert "is divided already" in told
    assert "on both sides: 1 of the videos, such as train/left hand/0.mp4" in told


def test_a_video_of_two_classes_is_told(root, tmp_path, capsys):
    both = tmp_path / "both"
    shutil.copytree(root, both)
    shutil.copy(root / "left hand" / "0.mp4", both / "right hand" / "again.mp4")
    prepared("--data.root", both, "--output", tmp_path / "run")
    told = capsys.readouterr().out
    assert "several classes: left hand/0.mp4, right hand/again.mp4" in told


def test_weights_bring_their_network(root, tmp_path, checkpoint, config, capsys):
    words = ["--data.root", root, "--model.pretrained", checkpoint, "--output", tmp_path / "run"]
    made = prepared(*words).config
    assert (made.model.name, made.model.width) == (config.model.name, config.model.width)
    assert made.model.num_segments == config.model.num_segments
    assert (made.model.num_classes, made.model.new_head) == (2, True)
    assert made.data.crop_size == config.data.crop_size
    assert "random weights" not in capsys.readouterr().out


def test_a_full_disk_is_told_and_nothing_left(root, tmp_path, monkeypatch):
    def fill_up(_source, target):
        if Path(target.name).parent != tmp_path / "run":  # where the lists' manifests are cached
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    with pytest.raises(UserError, match="No space left"):
        prepared("--data.root", root, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_name_that_a_list_cannot_keep_is_refused_and_nothing_left(root, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(root, odd)
    (odd / "left hand" / "0.mp4").rename(odd / "left hand" / "0.mp4 ")
    with pytest.raises(UserError, match="space"):
        prepared("--data.root", odd, "--output", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_with_commas_and_quotes_are_kept(root, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(root, odd)
    (odd / "left hand").rename(odd / 'left, "hand"')
    prepared("--data.root", odd, "--output", tmp_path / "run")
    names = (tmp_path / "run" / "classes.txt").read_text().splitlines()
    assert names == ['left, "hand"', "right hand"]
    manifest = manifest_of(tmp_path / "run" / "train.csv", odd, classes=names)
    assert len(manifest.usable) == 6
