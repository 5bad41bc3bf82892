"""Colour operations and random erasing from the configuration to the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tdn.config_loading import load_config
from tdn.errors import UserError
from tdn.pipelines.loader import create_loader
from tdn.pipelines.sampling.photometric import FILL, ColorChange


def batches(config, split="train", epoch=0, **place):
    loader = create_loader(config, split, epoch=epoch, **place)
    views = [loader.planner.batch(epoch, step) for step in range(loader.planner.steps)]
    return list(loader), views


def by_formula(clip: np.ndarray, change: ColorChange) -> np.ndarray:
    """The same in NumPy; what is rounded at a half may be off by one."""
    colours = np.concatenate((clip, np.ones_like(clip[..., :1])), -1).astype(float)
    values = np.clip(np.rint(colours @ change.matrix.T), 0, 255).astype(int)
    values = np.where(values >= change.inverted_from, 255 - values, values)
    return values & change.kept_bits


def test_a_batch_is_the_plain_one_with_its_looks(config):
    """Nothing else is drawn anew: the same videos, frames, crops and flips."""
    plain, _ = batches(config)
    config.data.color_ops, config.data.color_magnitude, config.data.erasing = 2, 0.5, 0.6
    changed, views = batches(config)
    erased = 0
    for before, after, row in zip(plain, changed, views, strict=True):
        assert before.indices.tolist() == after.indices.tolist()
        assert before.labels.tolist() == after.labels.tolist()
        assert torch.equal(before.frame_numbers, after.frame_numbers)
        for clip, found, view in zip(
            before.clips.cpu().numpy(), after.clips.cpu().numpy(), row, strict=True
        ):
            expected = by_formula(clip, view.look.color)
            y, x, height, width = view.look.erased
            expected[:, :, y : y + height, x : x + width] = FILL
            off = np.abs(found.astype(int) - expected)
            assert np.mean(off > 0) < 0.02  # a half, or one that solarize or posterize tears apart
            assert (off[:, :, y : y + height, x : x + width] == 0).all()
            erased += bool(view.look.erased)
    assert 0 < erased < sum(len(row) for row in views)


def test_off_is_bit_identical_to_a_graph_without(config):
    plain, _ = batches(config)
    config.data.color_ops, config.data.color_magnitude = 1, 0.0
    config.data.erasing = 1e-12
    nothing, views = batches(config)
    same = 0
    for before, after, row in zip(plain, nothing, views, strict=True):
        for a, b, view in zip(before.clips, after.clips, row, strict=True):
            if view.look.color.operations[0].split()[0] not in ("grayscale", "solarize"):
                assert torch.equal(a, b)
                same += 1
    assert same


def test_validation_has_no_looks(config):
    plain, _ = batches(config, "validation")
    config.data.color_ops, config.data.erasing = 3, 1.0
    changed, _ = batches(config, "validation")
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(plain, changed, strict=True))


def test_looks_do_not_depend_on_processes_or_on_where_one_resumes(config):
    config.data.color_ops, config.data.erasing = 2, 0.7
    whole, _ = batches(config, epoch=1)
    resumed = list(create_loader(config, "train", epoch=1, start_step=3))
    config.data.batch_size = 1
    halves = [list(create_loader(config, "train", rank, 2, epoch=1)) for rank in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch.clips, torch.cat([part.clips for part in parts]))
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(whole[3:], resumed, strict=True))


def test_folders_of_frames_get_the_same_looks(config, tmp_path):
    """The graph of pictures and that of videos share the operations."""
    rng = np.random.default_rng(0)
    rows = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        for number in range(1, 13):
            picture = rng.integers(0, 256, (6, 8, 3), np.uint8)
            large = Image.fromarray(picture).resize((80, 60), Image.Resampling.BICUBIC)
            large.save(folder / f"{number:05d}.jpg", quality=95)
        rows.append(f"{name} 12 0\n")
    (tmp_path / "list.txt").write_text("".join(rows))
    config.data.train_list = str(tmp_path / "list.txt")
    plain, _ = batches(config)
    config.data.color_ops, config.data.erasing = 2, 1.0
    changed, views = batches(config)
    for clip, found, view in zip(plain[0].clips, changed[0].clips, views[0], strict=True):
        expected = by_formula(clip.cpu().numpy(), view.look.color)
        y, x, height, width = view.look.erased
        expected[:, :, y : y + height, x : x + width] = FILL
        assert height * width
        assert np.mean(found.cpu().numpy() != expected) < 0.02


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("color_ops", "8"), ("color_ops", "-1"), ("color_ops", "some"),
        ("color_magnitude", "1.1"), ("erasing", "-0.1"), ("erasing", "2"), ("erasing", "nan"),
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(key, value):
    with pytest.raises(UserError, match=rf"data\.{key}") as error:
        load_config(None, ["--model.num_classes", "3", f"--data.{key}={value}"])
    assert len(str(error.value).splitlines()) == 1
