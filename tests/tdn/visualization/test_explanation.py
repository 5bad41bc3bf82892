from __future__ import annotations

import dataclasses
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tdn.checkpoint import AVERAGED
from tdn.cli import main
from tdn.config import TemporalConfig
from tdn.errors import UserError
from tdn.models import create_model
from tdn.pipelines.loader import create_loader
from tdn.prediction.predictor import Predictor
from tdn.trained import load_trained
from tdn.visualization.cam import activation_map
from tdn.visualization.cam_sheet import Heat, cam_sheet, heated
from tdn.visualization.explanation import Explainer
from tests.tdn.trained_networks import NAMES, checkpoint, config, videos, write_checkpoint
from tests.videos import write_list

__all__ = ["checkpoint", "config", "videos"]


@pytest.fixture(scope="module")
def explainer(checkpoint):
    return Explainer(checkpoint, device="cpu")


def fed(explainer, video):
    """What the network is fed of a video."""
    return torch.from_numpy(explainer(str(video)).frames)[None]


def with_model(config, **changes):
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))


def test_the_clip_is_the_one_that_validation_takes(explainer, config, videos, tmp_path):
    listed = write_list(tmp_path / "list.txt", [(video, 0) for video in videos])
    data = dataclasses.replace(config.data, validation_list=str(listed), batch_size=1)
    settings = dataclasses.replace(config, data=data)
    for video, batch in zip(videos, create_loader(settings, "validation"), strict=True):
        found = explainer(str(video))
        assert np.array_equal(found.frames, batch.clips[0].cpu().numpy())
        rate = 25 if video.is_dir() else 12
        np.testing.assert_allclose(found.seconds, batch.frame_numbers[0] / rate, atol=2e-3)


def test_without_modules_is_the_frame_only_network_with_the_same_weights(
    explainer, checkpoint, videos
):
    found = explainer(str(videos[0]))
    trained = load_trained(checkpoint)
    plain = create_model("tsn_resnet10", num_classes=3, num_segments=3, width=8).eval()
    weights = trained.model.state_dict()
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    clip = torch.from_numpy(found.frames)[None]
    expected = activation_map(trained.model, clip)
    compared = activation_map(plain, clip, expected.label)
    assert found.maps[0].heat is None
    np.testing.assert_allclose(found.maps[1].heat, expected.heat, atol=1e-5)
    np.testing.assert_allclose(found.maps[2].heat, compared.heat, atol=1e-5)
    assert NAMES[expected.label] in found.maps[1].title
    assert f"{100 * compared.probability:.1f} %" in found.maps[2].title
    assert len(found.responses) == 5


def test_the_class_is_the_predicted_one_or_the_one_that_is_asked_for(explainer, checkpoint, videos):
    (video,) = Predictor(checkpoint, device="cpu")([videos[0]])
    guess = video.top(1)[0]
    title = explainer(str(videos[0])).maps[1].title
    assert f"{guess.name}, {100 * guess.probability:.1f} %" in title
    other = (guess.label + 1) % 3
    found = explainer(str(videos[0]), other).maps[1]
    expected = activation_map(load_trained(checkpoint).model, fed(explainer, videos[0]), other)
    assert NAMES[other] in found.title
    np.testing.assert_allclose(found.heat, expected.heat, atol=1e-5)
    for wrong in (3, -1):
        with pytest.raises(UserError, match=f"class {wrong}"):
            explainer(str(videos[0]), wrong)


def test_a_class_is_named_or_numbered(config, videos, tmp_path, capsys, monkeypatch):
    """A number that is the name of another class is its name."""
    checkpoint = write_checkpoint(tmp_path / "last.pt", config, ("opening", "2", "0"))
    asked = []

    def explain(_self, _video, label, _layer):
        asked.append(label)
        raise UserError("enough")

    monkeypatch.setattr(Explainer, "__call__", explain)
    words = ["visualize", "cam", str(videos[0]), "--checkpoint", str(checkpoint), "--device", "cpu"]
    words += ["--output", str(tmp_path / "cam.png")]
    for given in ("opening", "2", "0", "1"):
        main([*words, "--label", given])
    assert asked == [0, 1, 2, 1]
    capsys.readouterr()
    for given in ("jumping", "3", "-1", "", "\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT ONE}"):
        assert main([*words, f"--label={given}"]) == 2
        told = capsys.readouterr().err
        assert "--label" in told
        assert told.count("\n") == 1
    assert asked == [0, 1, 2, 1]


def test_averaged_weights_or_those_of_the_last_step(checkpoint, videos, tmp_path):
    other = tmp_path / "other.pt"
    content = torch.load(checkpoint, weights_only=True)
    averaged = {key: value.clone() for key, value in content["model"].items()}
    averaged["classifier.weight"] *= -1
    torch.save(content | {AVERAGED: averaged}, other)
    clip = str(videos[0])
    plain, raw, mean = (
        Explainer(path, raw=raw, device="cpu")(clip, 0).maps[1]
        for path, raw in ((checkpoint, False), (other, True), (other, False))
    )
    assert np.array_equal(plain.heat, raw.heat)
    assert plain.title == raw.title
    assert not np.array_equal(plain.heat, mean.heat)


def test_a_baseline_that_was_trained(checkpoint, config, videos, tmp_path):
    plain = write_checkpoint(tmp_path / "tsn.pt", with_model(config, name="tsn_resnet10"))
    found = Explainer(checkpoint, baseline=plain, device="cpu")(str(videos[0]))
    clip = torch.from_numpy(found.frames)[None]
    label = activation_map(load_trained(checkpoint).model, clip).label
    expected = activation_map(load_trained(plain).model, clip, label)
    np.testing.assert_allclose(found.maps[2].heat, expected.heat, atol=1e-5)


@pytest.mark.parametrize("changes", [{"num_segments": 4}, {"num_classes": 4}])
def test_a_baseline_of_something_else_is_refused(checkpoint, config, tmp_path, changes):
    other = write_checkpoint(tmp_path / "o.pt", with_model(config, **changes), "abcd")
    with pytest.raises(UserError, match=next(iter(changes))):
        Explainer(checkpoint, baseline=other, device="cpu")


def test_networks_with_ablated_modules(config, videos, tmp_path):
    temporal = TemporalConfig(fusions="first", stages=(4,), directions="next")
    path = write_checkpoint(tmp_path / "a.pt", with_model(config, temporal=temporal))
    found = Explainer(path, device="cpu")(str(videos[0]))
    assert [heat.title for heat in found.responses] == ["S-TDM after the stem", "L-TDM stage 4"]


def test_heat_colours_what_it_covers():
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cold, hot = (heated(frame, np.full((40, 60), heat, np.float32)) for heat in (0, 1))
    grey = frame.mean(2)
    assert np.corrcoef(cold.mean(2).ravel(), grey.ravel())[0, 1] > 0.99
    assert cold.std() > 2 * (hot - hot.mean((0, 1))).std()
    assert (hot[..., 0].astype(int) - hot[..., 2]).mean() > 30  # yellow
    assert hot.mean() > cold.mean()


def test_the_sheet_has_a_row_for_each_heat_and_a_column_for_each_segment():
    frames = np.full((4, 5, 30, 40, 3), 90, np.uint8)
    heat = np.zeros((4, 30, 40), np.float32)
    heat[2] = 1
    rows = [Heat("frames", None), Heat("heat", heat)]
    picture = np.asarray(cam_sheet(frames, np.zeros((4, 5)), rows, side=80)).astype(int)
    assert 4 * 80 < picture.shape[1] < 4 * 90
    assert 2 * 60 < picture.shape[0] < 2 * 60 + 80
    line = picture[picture.shape[0] * 3 // 4 - 10]
    yellow = np.flatnonzero(line[:, 0] - line[:, 2] > 60)
    assert yellow.min() >= 160
    assert yellow.max() < 260


def test_the_command_writes_a_picture_and_a_video(checkpoint, videos, tmp_path, capsys):
    output, movie = tmp_path / "new" / "cam.png", tmp_path / "cam.mp4"
    words = ["visualize", "cam", str(videos[1]), "--checkpoint", str(checkpoint)]
    words += ["--device", "cpu"]
    assert main([*words, "--output", str(output), "--video", str(movie), "--layer", "stage3"]) == 0
    assert capsys.readouterr().out.split() == [str(output), str(movie)]
    with Image.open(output) as picture:
        assert picture.height > picture.width  # eight rows of three segments
    with av.open(str(movie)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 15
    # Frames, two networks, two responses of S-TDM and three of L-TDM: two rows of four.
    height, width = frames[0].shape[:2]
    assert width == 4 * 320
    panels = [
        frames[7][row * (height - 20) // 2 + 20 :, column * 320 :][:240, :320]
        for row in (0, 1)
        for column in range(4)
    ]
    pairs = pairwise(panels)
    assert all(np.abs(one.astype(int) - other).mean() > 3 for one, other in pairs)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--output", "cam.jpg"], "--output"),
        (["--video", "cam.avi"], "--video"),
        (["--side", "2"], "--side"),
        (["--baseline", "none.pt"], "none.pt"),
    ],
)
def test_the_command_names_what_does_not_fit(checkpoint, videos, tmp_path, capsys, words, named):
    given = ["visualize", "cam", str(videos[0]), "--checkpoint", str(checkpoint)]
    given += ["--output", str(tmp_path / "cam.png"), *words]
    assert main(given) == 2
    message = capsys.readouterr().err
    assert named in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_video_and_its_frames_are_not_overwritten(videos, tmp_path, capsys):
    """Told before any work: the checkpoint is not there."""
    movie = tmp_path / "a.mp4"
    movie.write_bytes(videos[1].read_bytes())
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "00001.png").write_bytes(b"a frame")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = ["visualize", "cam", "--checkpoint", str(tmp_path / "none.pt")]
    for video, option, given in (
        (movie, "--video", movie),
        (frames, "--output", frames / "00001.png"),
    ):
        assert main([*words, str(video), option, str(given)]) == 2
        assert str(given) in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_video_that_cannot_be_read(explainer, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video" * 40)
    with pytest.raises(UserError, match=r"bad\.mp4"):
        explainer(str(bad))
