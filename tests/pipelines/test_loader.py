from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch

import tdn
from tdn.errors import UserError
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tests.pipelines.conftest import LENGTHS
from tests.sources import write_frame_folder
from tests.videos import read_number, rotate_mp4, write_list, write_video


def plain(batch):
    return batch.indices.tolist(), batch.labels.tolist(), batch.frame_numbers.tolist()


def test_the_public_name(config):
    assert tdn.create_loader is create_loader


def test_batches_have_the_documented_shapes(config):
    loader = create_loader(config, "train")
    assert len(loader) == len(LENGTHS) // 2
    batches = list(loader)
    assert len(batches) == len(loader)
    for batch in batches:
        assert batch.clips.shape == (2, 4, 5, 48, 64, 3)
        assert batch.clips.dtype == torch.uint8
        assert batch.labels.dtype == batch.indices.dtype == torch.int64
        assert batch.frame_numbers.shape == (2, 4, 5)
        assert batch.frame_numbers.dtype == torch.int64


def test_an_epoch_holds_whole_steps_of_accumulated_batches(config):
    config.training.accumulate = 2
    assert len(create_loader(config, "train")) == len(LENGTHS) // 4 * 2 == 4
    assert len(create_loader(config, "validation")) == 6
    config.training.accumulate = 6
    with pytest.raises(UserError, match=r"one batch of 12 .*6 times.*training\.accumulate"):
        create_loader(config, "train")


def test_every_codec_gives_exactly_the_frames_it_says(config, either_decoder):
    """The number in the picture is the number reported: training, with crops and flips off."""
    config.data.flip = False
    config.data.scales = [1.0]
    loader = create_loader(config, "train")
    seen = set()
    for epoch in range(3):
        loader.set_epoch(epoch)
        for batch in loader:
            pictures = batch.clips.flatten(1, 2).cpu().numpy()
            for clip, numbers in zip(pictures, batch.frame_numbers.flatten(1), strict=True):
                assert [read_number(frame) for frame in clip] == numbers.tolist()
            seen |= set(batch.indices.tolist())
    assert seen == set(range(len(LENGTHS)))


def test_validation_gives_each_video_once_in_order(config):
    for _ in range(2):
        batches = list(create_loader(config, "validation"))
        assert torch.cat([b.indices for b in batches]).tolist() == list(range(len(LENGTHS)))
        assert [len(b.labels) for b in batches] == [2, 2, 2, 2, 2, 1]
        for batch in batches:
            pictures = batch.clips.flatten(1, 2).cpu().numpy()
            for clip, numbers in zip(pictures, batch.frame_numbers.flatten(1), strict=True):
                assert [read_number(frame) for frame in clip] == numbers.tolist()


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_test_split_gives_every_view_of_every_video_once(config, world_size):
    config.evaluation.clips, config.evaluation.crops = 2, 3
    config.data.batch_size = 5
    seen = []
    for rank in range(world_size):
        loader = create_loader(config, "test", rank=rank, world_size=world_size)
        assert loader.views_per_video == 6
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(len(batch.labels) == 5 for batch in batches[:-1])
        for batch in batches:
            pictures = batch.clips.flatten(1, 2).cpu().numpy()
            assert batch.labels.tolist() == [row % 3 for row in batch.indices.tolist()]
            for clip, numbers in zip(pictures, batch.frame_numbers.flatten(1), strict=True):
                assert clip.shape[1:3] == (48, 64)
                assert len(clip) == len(numbers)
            seen += zip(batch.indices.tolist(), batch.views.tolist(), strict=True)
    assert sorted(seen) == [(row, view) for row in range(len(LENGTHS)) for view in range(6)]


def test_crops_of_a_test_clip_lie_side_by_side(config):
    """The left and the right crop are the ends of one resized frame, the last its middle."""
    config.evaluation.crops, config.evaluation.crop_size = 3, 48
    config.data.batch_size = 3
    left, right, centre = next(iter(create_loader(config, "test"))).clips[:, 0, 0].int()
    config.evaluation.crops, config.evaluation.crop_size = 1, (48, 66)
    whole = next(iter(create_loader(config, "test"))).clips[0, 0, 0].int()
    for crop, start in ((left, 0), (right, 16), (centre, 8)):
        inner = slice(2, -2)
        difference = (crop - whole[:, start : start + 48]).abs()[:, inner]
        assert difference.max() <= 2


def test_a_validation_loader_can_be_used_again(config):
    loader = create_loader(config, "validation")
    first = [batch.clips.clone() for batch in loader]
    second = [batch.clips for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_mirrored_clips_are_mirror_images(config):
    config.data.scales = [1.0]
    straight_config = config
    flipping = create_loader(config, "train")
    flipped = list(flipping)
    straight_config.data.flip = False
    straight = list(create_loader(straight_config, "train"))
    mirrored = 0
    for a, b in zip(flipped, straight, strict=True):
        for one, other in zip(a.clips, b.clips, strict=True):
            if torch.equal(one, other):
                continue
            # Within the rounding of the resize, whose pixel centres run the other way.
            assert (one.int() - other.flip(-2).int()).abs().max() <= 1
            mirrored += 1
    assert mirrored


def test_resuming_and_two_processes_give_the_same_clips(config):
    config.data.batch_size = 1
    two = [create_loader(config, "train", rank=rank, world_size=2, epoch=1) for rank in range(2)]
    halves = [list(loader) for loader in two]
    config.data.batch_size = 2
    whole = list(create_loader(config, "train", epoch=1))
    resumed = list(create_loader(config, "train", epoch=1, start_step=3))
    assert len(resumed) == len(whole) - 3
    for a, b in zip(whole[3:], resumed, strict=True):
        assert plain(a) == plain(b)
        assert torch.equal(a.clips, b.clips)
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch.clips, torch.cat([part.clips for part in parts]))
        assert batch.indices.tolist() == [row for part in parts for row in part.indices.tolist()]


def test_epochs_follow_each_other_as_if_asked_one_by_one(config):
    loader = create_loader(config, "train")
    running = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        running += [plain(batch) for batch in loader]
    alone = [plain(b) for epoch in range(3) for b in create_loader(config, "train", epoch=epoch)]
    assert running == alone


def test_leaving_an_epoch_early_starts_the_next_use_at_its_beginning(config):
    loader = create_loader(config, "train")
    first = plain(next(iter(loader)))
    assert plain(next(iter(loader))) == first
    loader.set_epoch(1, 2)
    assert plain(next(iter(loader))) == plain(
        next(iter(create_loader(config, "train", 0, 1, 1, 2)))
    )


@pytest.fixture(params=["videos", "folders of frames"])
def either_graph(request, config, tmp_path):
    """A configuration whose clips are read by the graph of videos, or by that of pictures."""
    if request.param != "videos":
        rows = [(write_frame_folder(tmp_path / f"c{n}", 9 + n), n % 3) for n in range(7)]
        config.data.train_list = str(write_list(tmp_path / "list.txt", rows))
    return config


def test_clips_are_dalis_memory_and_stay_intact(either_graph):
    """Zero copy: torch's pointer is DALI's. Held batches survive later batches and the loader."""
    loader = create_loader(either_graph, "train")
    batches, pointers = iter(loader), []
    held = [next(batches).clips]
    copies = [held[0].clone()]
    run = loader._stream._pipeline.run

    def noting(*stream):
        outputs = run(*stream)
        pointers.append(outputs[0][0].data_ptr())
        return outputs

    loader._stream._pipeline.run = noting
    for epoch in range(3):
        loader.set_epoch(epoch, 1 if epoch == 0 else 0)
        for batch in batches if epoch == 0 else loader:
            held.append(batch.clips)
            copies.append(batch.clips.clone())
    assert pointers == [clips.data_ptr() for clips in held[1:]]
    assert len(set(pointers)) == len(pointers)
    loader.close()
    del loader, batches
    list(create_loader(either_graph, "train"))
    assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))


def test_rotated_video_is_turned_upright(tmp_path, config):
    upright = write_video(tmp_path / "a", 20, codec="h264", size=(128, 96))
    # What a phone stores: the picture lies on its side, and the header says how to turn it.
    numbered = [np.rot90(frame) for frame in frames_of(upright)]
    turned = rotate_mp4(write_video(tmp_path / "b", numbered, codec="h264"), 90)
    assert numbered[0].shape == (96, 128, 3)
    rows = [(upright, 0), (turned, 1)]
    config.data.validation_list = str(write_list(tmp_path / "list.txt", rows))
    config.data.crop_size = 64
    config.data.short_side = 64
    (batch,) = create_loader(config, "validation")
    difference = batch.clips[0].int() - batch.clips[1].int()
    assert difference.abs().float().mean() < 3


def frames_of(path):
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture
def own_copy(tmp_path, data_set, config):
    """The data set in a folder of the test's own, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(data_set.parent, folder)
    config.data.train_list = config.data.validation_list = str(folder / data_set.name)
    config.data.max_bad_share = 0.6
    return folder


def damage(path):
    """Overwrites the middle of a file, keeping its size and time."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    middle = len(data) // 3
    data[middle : middle + len(data) // 2] = rng.bytes(len(data) // 2)
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_files_that_fail_later_are_replaced_in_training(own_copy, config, either_decoder, caplog):
    # A manifest, which is not brought up to date: resuming sees the same videos.
    manifest = index_list(config.data.train_list, own_copy / "list.arrow", progress=False).manifest
    config.data.train_list = str(manifest.file)
    loader = create_loader(config, "train")
    (own_copy / "0.webm").unlink()
    os.truncate(own_copy / "1.mp4", 900)
    damage(own_copy / "4.mp4")
    damage(own_copy / "6.webm")
    rows = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader)
        for batch in batches:
            assert batch.clips.shape == (2, 4, 5, 48, 64, 3)
            rows += batch.indices.tolist()
    assert {0, 1, 4, 6} <= loader.lost
    assert not {0, 1} & set(rows)
    for name in ("0.webm", "1.mp4", "4.mp4", "6.webm"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    # What takes a place does not depend on what failed before: resuming changes nothing.
    resumed = create_loader(config, "train", epoch=2, start_step=1)
    assert [row for batch in resumed for row in batch.indices.tolist()] == rows[-2 * len(resumed) :]


def test_files_that_fail_later_are_left_out_of_validation(own_copy, config, either_decoder):
    loader = create_loader(config, "validation")
    for name in ("0.webm", "1.mp4", "6.webm"):
        (own_copy / name).unlink()
    for _ in range(2):
        rows = torch.cat([batch.indices for batch in loader]).tolist()
        assert rows == [2, 3, 4, 5, 7, 8, 9, 10]


def test_too_many_failing_files_stop_the_run(own_copy, config):
    config.data.max_bad_share = 0.2
    loader = create_loader(config, "train")
    for path in own_copy.glob("*.webm"):
        path.unlink()
    with pytest.raises(UserError, match="max_bad_share"):
        list(loader)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: setattr(c.data, "train_list", ""), "data.train_list"),
        (lambda c: setattr(c.data, "train_list", "nowhere.txt"), "nowhere.txt"),
        (lambda c: setattr(c.data, "root", "nowhere"), "nowhere"),
        (lambda c: setattr(c.model, "num_classes", 2), "list.txt:3"),
        (lambda c: setattr(c.data, "batch_size", 12), "data.batch_size"),
    ],
)
def test_what_cannot_work_is_named_before_anything_is_decoded(config, change, named):
    change(config)
    with pytest.raises(UserError, match=named) as error:
        create_loader(config, "train")
    assert len(str(error.value).splitlines()) == 1


def test_no_usable_video_is_an_error(tmp_path, config):
    config.data.train_list = str(write_list(tmp_path / "list.txt", [("a.webm", 0), ("b.webm", 1)]))
    with pytest.raises(UserError, match=r"a\.webm"):
        create_loader(config, "train")


def test_losing_every_file_stops_the_run_whatever_the_share(own_copy, config):
    config.data.max_bad_share = 1.0
    loader = create_loader(config, "train")
    for path in own_copy.iterdir():
        if path.suffix != ".txt":
            path.unlink()
    with pytest.raises(UserError, match="cannot be decoded"):
        list(loader)


def test_what_is_too_short_is_told(config, data_set):
    config.data.min_frames = 20
    loader = create_loader(config, "train")
    assert loader.planner.rows.tolist() == [0, 2, 4, 6, 9, 10]
    assert "6 videos (5 shorter ones left out by data.min_frames)" in loader.describe()
    assert loader.fingerprint() != create_loader(config, "validation").fingerprint()
    config.data.batch_size = 7
    with pytest.raises(UserError, match=r"6 usable videos.*data\.min_frames.*data\.batch_size"):
        create_loader(config, "train")
    assert len(create_loader(config, "validation").planner.rows) == 11


def test_one_process_of_many_stops_a_run_whose_files_are_gone(tmp_path, config):
    """It sees a part of the videos only, but most of that part is lost."""
    video = write_video(tmp_path / "a", 6)
    for number in range(160):
        (tmp_path / f"{number}.webm").hardlink_to(video)
    rows = [(f"{number}.webm", 0) for number in range(160)]
    listed = write_list(tmp_path / "list.txt", rows)
    manifest = index_list(listed, tmp_path / "list.arrow", progress=False).manifest
    config.data.train_list = config.data.validation_list = str(manifest.file)
    train_loader = create_loader(config, "train", rank=1, world_size=4)
    loader = create_loader(config, "validation", rank=1, world_size=4)
    for number in range(160):
        if number % 2:
            (tmp_path / f"{number}.webm").unlink()
    with pytest.raises(UserError, match="max_bad_share"):
        list(loader)
    assert len(loader.lost) == 16
    with pytest.raises(UserError, match="max_bad_share"):  # there the trainer asks all processes
        list(train_loader)
    assert len(train_loader.lost) == 17
