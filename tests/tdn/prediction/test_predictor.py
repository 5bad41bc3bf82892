from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import tdn
from tdn.checkpoint import export_upstream
from tdn.cli import main
from tdn.config import ModelConfig
from tdn.errors import UserError
from tdn.evaluation.evaluator import evaluate
from tdn.prediction.predictor import Predictor
from tdn.trained import create_network
from tests.tdn.trained_networks import NAMES
from tests.videos import write_list


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(checkpoint, device="cpu")


def softmax(logits):
    return torch.from_numpy(logits).double().softmax(-1).numpy()


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (2, 3)])
def test_what_is_predicted_is_what_is_tested(checkpoint, config, videos, tmp_path, clips, crops):
    """A video has the scores that `tdn evaluate` gives it in a list, by any protocol."""
    listed = write_list(tmp_path / "list.txt", [(video, 0) for video in videos])
    settings = dataclasses.replace(
        config,
        output=str(tmp_path / "run"),
        data=dataclasses.replace(config.data, validation_list=str(listed)),
        evaluation=dataclasses.replace(config.evaluation, clips=clips, crops=crops),
        training=dataclasses.replace(config.training, device="cpu"),
    )
    evaluate(settings, checkpoint)
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        expected = softmax(scores["scores"]).mean(1)
    found = Predictor(checkpoint, device="cpu", clips=clips, crops=crops)(videos)
    assert [video.path for video in found] == [str(video) for video in videos]
    for video, probabilities in zip(found, expected, strict=True):
        np.testing.assert_allclose(video.probabilities, probabilities, atol=1e-6)
    assert not np.allclose(expected[0], expected[1])


def test_a_window_has_the_scores_of_a_video_cut_to_it(predictor, videos, tmp_path):
    """Windows of a folder of frames, against folders of these frames alone; 25 a second."""
    (video,) = predictor([videos[2]], window=0.4, every=0.28)
    assert [(w.first_frame, w.frames) for w in video.windows] == [(0, 10), (7, 10), (14, 10)]
    np.testing.assert_allclose([w.start for w in video.windows], [0, 0.28, 0.56])
    for window in video.windows:
        part = tmp_path / f"part{window.first_frame}"
        part.mkdir()
        for number in range(window.first_frame, window.first_frame + window.frames):
            name = f"{number + 1:05d}.jpg"
            shutil.copy(videos[2] / name, part / name)
        (alone,) = predictor([part])
        np.testing.assert_allclose(window.probabilities, alone.probabilities, atol=1e-6)
    mean = np.mean([window.probabilities for window in video.windows], axis=0)
    np.testing.assert_allclose(video.probabilities, mean)


def test_guesses_are_named_and_in_order(predictor, videos):
    (video,) = predictor([videos[0]])
    guesses = video.top(3)
    assert sorted(guess.name for guess in guesses) == sorted(NAMES)
    assert all(guess.name == NAMES[guess.label] for guess in guesses)
    probabilities = [guess.probability for guess in guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert video.top(1) == guesses[:1]
    assert video.seconds == pytest.approx(40 / 12, abs=0.01)


def test_a_folder_is_all_videos_below_it(predictor, videos):
    found = predictor([videos[0].parent])
    assert [video.path for video in found] == [str(video) for video in videos]
    assert predictor([]) == []


def test_bad_videos_are_told_and_cost_the_others_nothing(predictor, videos, tmp_path):
    (tmp_path / "text.mp4").write_text("no video " * 50)
    cut = tmp_path / "cut.mp4"
    whole = videos[1].read_bytes()
    cut.write_bytes(whole[: len(whole) // 3])
    found = predictor([tmp_path / "text.mp4", videos[0], cut])
    assert [bool(video.problem) for video in found] == [True, False, True]
    assert "problem" in found[0].as_dict()
    assert found[0].top() == []
    for what in ("probabilities", "seconds"):
        with pytest.raises(UserError, match=r"text\.mp4"):
            getattr(found[0], what)
    (alone,) = predictor([videos[0]])
    np.testing.assert_allclose(found[1].probabilities, alone.probabilities, atol=1e-6)


@pytest.mark.parametrize("name", ["take 2", "take 2 0", "take ", "take, 'one' \" 3", "0"])
def test_any_name_will_do(predictor, videos, tmp_path, name):
    shutil.copytree(videos[2], tmp_path / name)
    (tmp_path / "take").mkdir(exist_ok=True)
    found, expected = predictor([tmp_path / name, videos[2]])
    assert found.problem == ""
    assert np.array_equal(found.probabilities, expected.probabilities)


def test_a_video_that_breaks_when_it_is_decoded(predictor, videos, tmp_path):
    """Damage that the index does not see, in one of several windows."""
    broken = tmp_path / "frames"
    shutil.copytree(videos[2], broken)
    picture = broken / "00020.jpg"
    picture.write_bytes(picture.read_bytes()[:600])
    found = predictor([videos[2], broken, videos[0]], window=0.4)
    assert [bool(video.problem) for video in found] == [False, True, False]
    assert "frame 19" in found[1].problem


def test_published_checkpoints_need_a_configuration(config, videos, tmp_path):
    model = create_network(config.model)
    path = tmp_path / "published.pth"
    torch.save({"state_dict": export_upstream(model)}, path)
    with pytest.raises(UserError, match="--config"):
        Predictor(path)
    (video,) = Predictor(path, config, device="cpu")([videos[0]])
    assert [guess.name for guess in video.top(3)] == [str(g.label) for g in video.top(3)]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"classes": "none.txt"}, "none.txt"),
        ({"clips": 0}, "evaluation.clips"),
        ({"crops": 4}, "evaluation.crops"),
    ],
)
def test_settings_that_do_not_fit(checkpoint, settings, named):
    with pytest.raises(UserError, match=named):
        Predictor(checkpoint, **settings)


def test_names_for_another_number_of_classes(checkpoint, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    with pytest.raises(UserError, match=r"names\.txt.*3"):
        Predictor(checkpoint, classes=names)
    names.write_text("one\ntwo\nthree\n")
    assert Predictor(checkpoint, classes=names).classes == ("one", "two", "three")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"window": 0}, "--window"),
        ({"window": float("nan")}, "--window"),
        ({"window": 1, "every": -1}, "--every"),
        ({"every": 1}, "--window"),
    ],
)
def test_windows_that_do_not_fit(predictor, videos, settings, named):
    with pytest.raises(UserError, match=named):
        predictor([videos[0]], **settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"window": 1e-6}, "--window"), ({"window": 1, "every": 1e-6}, "--every")],
)
def test_windows_shorter_than_a_frame_are_told_and_cost_the_others_nothing(
    predictor, videos, settings, named
):
    (found,) = predictor([videos[0]], **settings)
    assert named in found.problem
    # 25 and 12 frames a second
    fast, slow = predictor([videos[2], videos[0]], window=0.05)
    assert not fast.problem
    assert "--window" in slow.problem


def test_steps_are_never_shorter_than_a_frame(predictor, videos):
    """Half of a window of one frame would give each frame twice."""
    (found,) = predictor([videos[2]], window=0.04)
    assert [(w.first_frame, w.frames) for w in found.windows] == [(n, 1) for n in range(24)]


def test_paths_that_hold_nothing(predictor, tmp_path):
    for path in (tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(UserError, match=str(path)):
            predictor([path])


def test_another_network_than_the_checkpoints(checkpoint, config):
    other = dataclasses.replace(config, model=ModelConfig("tdn_resnet10", 3, 4, width=8))
    with pytest.raises(UserError, match="classes"):
        Predictor(checkpoint, other)


def test_the_command_gives_what_the_class_gives(checkpoint, predictor, videos, capsys):
    words = ["predict", *map(str, videos[:2]), "--checkpoint", str(checkpoint), "--top", "2"]
    words += ["--window", "1", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    found = predictor(videos[:2], window=1)
    assert json.loads(capsys.readouterr().out) == [video.as_dict(2) for video in found]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for video in found:
        assert f"{100 * video.top(1)[0].probability:5.1f} %  {video.top(1)[0].name}" in printed
        assert printed.count(" - ") == sum(len(video.windows) for video in found)


def test_the_command_fails_where_a_video_does(checkpoint, videos, tmp_path, capsys):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video " * 50)
    words = ["predict", str(bad), str(videos[0]), "--checkpoint", str(checkpoint)]
    assert main([*words, "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert str(bad) in err
    assert str(videos[0]) in out
    assert "Traceback" not in err


def test_the_command_prints_nothing_where_no_video_can_be_read(checkpoint, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("no video " * 50)
    words = ["predict", str(tmp_path / "bad.mp4"), "--checkpoint", str(checkpoint)]
    assert main([*words, "--device", "cpu"]) == 1
    assert capsys.readouterr().out == ""


def test_tdn_has_nothing_new_to_import():
    """Prediction is asked for by its own name; `import tdn` stays light."""
    assert not hasattr(tdn, "Predictor")
