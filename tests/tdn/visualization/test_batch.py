"""A drawn batch against the loader's own."""

from __future__ import annotations

import re

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig, TrainingConfig
from tdn.errors import UserError
from tdn.pipelines.loader import create_loader
from tdn.pipelines.sampling.photometric import FILL
from tdn.training.extras.mixing import draw_mix
from tdn.visualization import batch as module
from tdn.visualization.batch import draw_batch
from tests.tdn.visualization.pictures import places
from tests.videos import write_list, write_video

LENGTHS = (20, 9, 31, 12, 25)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rows = [
        (write_video(folder / str(i), frames, codec="mjpeg", size=(75, 101)).name, i % 3)
        for i, frames in enumerate(LENGTHS)
    ]
    return write_list(folder / "list.txt", rows)


@pytest.fixture
def config(videos) -> Config:
    return Config(
        model=ModelConfig(num_segments=2, num_classes=3),
        data=DataConfig(
            train_list=str(videos),
            validation_list=str(videos),
            batch_size=2,
            crop_size=(36, 48),
            short_side=48,
            num_threads=1,
            flip_labels={0: 1, 1: 0},
        ),
        training=TrainingConfig(device="cpu"),
        logging=LoggingConfig(progress=False),
    )


@pytest.fixture
def drawn(monkeypatch):
    """The rows that were drawn."""
    rows = []

    def batch_sheet(given, side):
        rows.extend(given)
        return original(given, side)

    original = module.batch_sheet
    monkeypatch.setattr(module, "batch_sheet", batch_sheet)
    return rows


@pytest.mark.parametrize(
    ("split", "epoch", "step"),
    [("train", 0, 0), ("train", 3, 1), ("validation", 0, 2), ("test", 0, 3)],
)
def test_the_drawn_pixels_are_the_batchs(config, drawn, split, epoch, step):
    config.evaluation.crops = 5
    sheet = np.asarray(draw_batch(config, split, epoch=epoch, step=step))
    batch = next(iter(create_loader(config, split, epoch=epoch, start_step=step)))
    assert len(drawn) == len(batch.clips)
    for row, clip, label, index, numbers in zip(drawn, *batch[:4], strict=True):
        assert all(places(sheet, frame) for segment in clip.numpy() for frame in segment)
        assert np.array_equal(row.numbers, numbers)
        assert str(int(label)) in row.label
        assert f"/{int(index)}.avi" in row.file
        assert row.frame_size == (75, 101)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_cut_out_as_the_row_says_the_video_gives_the_pixels(config, drawn, split):
    config.data.batch_size = 4
    config.data.scales = [0.66]
    for epoch in range(2):
        draw_batch(config, split, epoch=epoch)
    assert {row.mirrored for row in drawn} == ({True, False} if split == "train" else {False})
    assert len({row.box for row in drawn}) > (split == "train")
    for row in drawn:
        y0, x0, y1, x1 = row.box
        with av.open(row.file) as container:
            first = next(
                frame.to_image()
                for number, frame in enumerate(container.decode(video=0))
                if number == row.numbers[0, 0]
            )
        expected = np.asarray(first.resize((48, 36), Image.Resampling.BILINEAR, (x0, y0, x1, y1)))
        expected = expected[:, ::-1] if row.mirrored else expected
        assert np.abs(row.frames[0, 0].astype(int) - expected).mean() < 2
        size = f"{y1 - y0:.0f} x {x1 - x0:.0f}"
        assert size in row.cut
        assert ("mirrored" in row.cut) == row.mirrored


def test_only_some_of_the_clips(config, drawn):
    one = draw_batch(config, "train", clips=1)
    assert len(drawn) == 1
    assert one.size[1] < draw_batch(config, "train").size[1]


def test_class_names_are_the_lists_or_given_or_beside_the_list(config, drawn, tmp_path, videos):
    config.data.flip = False
    (tmp_path / "labels.txt").write_text("up\ndown\nturn\n")
    config.data.validation_list = str(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text(
        f"{videos.parent / '0.avi'} 0\n{videos.parent / '1.avi'} 1\n"
    )
    draw_batch(config, "validation")
    (tmp_path / "labels.txt").write_text("of something else\n")
    draw_batch(config, "validation")
    (tmp_path / "names.txt").write_text("push\npull\npress\n")
    config.data.classes = str(tmp_path / "names.txt")
    draw_batch(config, "validation")
    (tmp_path / "list.csv").write_text(
        f"path,label\n{videos.parent / '0.avi'},pull\n{videos.parent / '1.avi'},press\n"
    )
    config.data.validation_list = str(tmp_path / "list.csv")
    draw_batch(config, "validation")
    assert [row.label for row in drawn] == [
        *("0 up", "1 down"), *("label 0", "label 1"), *("0 push", "1 pull"), *("1 pull", "2 press")
    ]  # fmt: skip


def test_colours_and_erasing_are_told(config, drawn):
    config.data.color_ops, config.data.erasing = 3, 1.0
    draw_batch(config, "train")
    for row in drawn:
        loader = create_loader(config, "train")
        look = next(v.look for v in loader.planner.batch(0, 0) if v.clip.name == row.file)
        assert all(words in row.cut for words in look.color.operations)
        y, x, height, width = look.erased
        assert f"erased {height} x {width} at y {y}, x {x}" in row.cut
        assert (row.frames[:, :, y : y + height, x : x + width] == FILL).all()
    config.data.color_ops, config.data.erasing = 0, 1e-9
    drawn.clear()
    draw_batch(config, "train")
    assert all("erased" not in row.cut for row in drawn)


@pytest.mark.parametrize("alphas", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_a_mixed_batch_is_drawn_as_it_is_trained_on(config, drawn, alphas):
    """With the labels of both clips, mirrored where these are."""
    for key, alpha in alphas.items():
        setattr(config.training, key, alpha)
    config.data.batch_size = 4
    sheet = np.asarray(draw_batch(config, "train", epoch=2))
    loader = create_loader(config, "train", epoch=2)
    batch = next(iter(loader))
    mix = draw_mix(config.training, config.seed, 2 * len(loader), 0, batch.clips.shape)
    partners = mix.partners(batch.labels).tolist()
    for row, clip, *labels in zip(
        drawn, mix.clips(batch.clips).numpy(), batch.labels, partners, strict=True
    ):
        assert all(places(sheet, frame) for segment in clip for frame in segment)
        words = re.sub(r" \(mirrored label \d\)", "", row.label)
        share = 100 * mix.share
        assert words == f"{share:.0f} % label {labels[0]} + {100 - share:.0f} % label {labels[1]}"
    files = [row.file for row in drawn]
    for row, partner in zip(drawn, files[mix.shift :] + files[: mix.shift], strict=True):
        assert row.cut.endswith(partner)
    assert torch.equal(batch.labels, torch.tensor([v.label for v in loader.planner.batch(2, 0)]))
    assert any(view.label != view.clip.label for view in loader.planner.batch(2, 0))


def test_a_mirrored_label_says_what_it_was(config, drawn):
    for epoch in range(4):
        draw_batch(config, "train", epoch=epoch)
    changed = [row.label for row in drawn if row.mirrored and "2" not in row.label]
    assert set(changed) == {"label 0 (mirrored label 1)", "label 1 (mirrored label 0)"}
    assert all("(" not in row.label for row in drawn if not row.mirrored)


def test_a_step_that_the_epoch_has_not_is_named(config):
    with pytest.raises(UserError, match="--step") as error:
        draw_batch(config, "train", step=2)
    assert len(str(error.value).splitlines()) == 1


def test_clips_that_cannot_be_decoded_are_not_drawn(config, drawn, monkeypatch):
    config.data.max_bad_share = 0.9
    loader = create_loader(config, "validation")
    loader.planner.failed = {view.place for view in loader.planner.batch(0, 0)}
    monkeypatch.setattr(module, "create_loader", lambda *_, **__: loader)
    draw_batch(config, "validation")
    assert [row.file[-5:] for row in drawn] == ["2.avi", "3.avi"]
