"""Every kind of source through the loader: the frames it says, the clips once, the same labels."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tdn.errors import UserError
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tests.pipelines.conftest import LENGTHS
from tests.sources import write_frame_folder, write_shard
from tests.videos import read_number, write_list, write_video

TEMPLATES = ("{:05d}.jpg", "{:06d}.jpg", "img_{:05d}.jpg", "image_{:05d}.jpg")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of frames: every template, some sizes, short ones, greyscale and PNG."""
    root = tmp_path_factory.mktemp("frames")
    for row, frames in enumerate(LENGTHS):
        size = (75, 101) if row in (3, 5) else (96, 128)
        template, first = TEMPLATES[row % 4], 0 if row == 4 else 1
        write_frame_folder(root / f"c{row}", frames, template=template, first=first, size=size)
    for picture in (root / "c6").iterdir():
        Image.open(picture).convert("L").save(picture)
    write_list(root / "list.txt", [(f"c{row} {n}", row % 3) for row, n in enumerate(LENGTHS)])
    return root


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("class_folders")
    for row, frames in enumerate(LENGTHS):
        folder = root / ("brush", "climb", "dive")[row % 3]
        folder.mkdir(exist_ok=True)
        codec = ("vp9", "mjpeg", "h264")[row % 3]
        write_video(folder / f"{row:02d}", frames, codec=codec)
    return root


def using(config, source):
    config.data.train_list = config.data.validation_list = str(source)
    config.data.flip, config.data.scales = False, [1.0]
    return config


def assert_frames_are_those_asked_for(loader) -> list[int]:
    rows = []
    for batch in loader:
        pictures = batch.clips.flatten(1, 2).cpu().numpy()
        for clip, numbers in zip(pictures, batch.frame_numbers.flatten(1), strict=True):
            assert [read_number(frame) for frame in clip] == numbers.tolist()
        rows += batch.indices.tolist()
    return rows


def check(config, labels):
    """Training and validation give the right frames and labels, each clip once."""
    loader = create_loader(config, "train")
    seen = set()
    for epoch in range(2):
        loader.set_epoch(epoch)
        rows = assert_frames_are_those_asked_for(loader)
        assert len(rows) == len(set(rows)) == 2 * len(loader)
        seen |= set(rows)
    validation = create_loader(config, "validation")
    assert assert_frames_are_those_asked_for(validation) == list(range(len(labels)))
    assert torch.cat([batch.labels for batch in validation]).tolist() == labels


def test_folders_of_frames(config, folders):
    check(using(config, folders / "list.txt"), [row % 3 for row in range(len(LENGTHS))])


def test_folders_of_frames_are_pils_pixels(config, folders):
    """Only the crop is decoded, and it is PIL's crop of the whole picture."""
    batch = next(iter(create_loader(using(config, folders / "list.txt"), "validation")))
    for clip, numbers, row in zip(batch.clips, batch.frame_numbers, batch.indices, strict=True):
        for frame, number in zip(clip.flatten(0, 1), numbers.flatten(), strict=True):
            path = folders / f"c{row}" / TEMPLATES[row % 4].format(number + 1)
            resized = Image.open(path).resize((64, 48), Image.Resampling.BILINEAR)
            difference = np.abs(np.asarray(resized).astype(int) - frame.cpu().numpy())
            assert difference[1:-1, 1:-1].max() <= 2
            assert difference.mean() < 0.5


def test_a_folder_of_frames_costs_one_decode_per_frame(config, folders):
    """Frames that segments share are the same bytes in each of their places."""
    batch = next(iter(create_loader(using(config, folders / "list.txt"), "validation")))
    clip, numbers = batch.clips[1].flatten(0, 1), batch.frame_numbers[1].flatten()
    assert len(set(numbers.tolist())) < len(numbers)  # 13 frames in 4 segments
    for number in numbers.unique():
        same = clip[numbers == number]
        assert (same == same[0]).all()


def test_a_folder_per_class(config, videos):
    check(using(config, videos), sorted(row % 3 for row in range(len(LENGTHS))))


def test_videos_and_folders_of_frames_mixed(config, videos, folders, tmp_path):
    rows = [(f"{folders}/c0", 0), (next(videos.rglob("01.*")), 1), (f"{folders}/c6", 2)]
    rows += [(next(videos.rglob("00.*")), 0), (next(videos.rglob("02.*")), 2)]
    check(using(config, write_list(tmp_path / "list.txt", rows)), [label for _, label in rows])


def samples(root, keys):
    names = ("brush", "climb", "dive")
    return [(f"s{key}", source, names[key % 3]) for key, source in keys]


def test_shards_of_videos(config, videos, tmp_path):
    files = [(row, next(videos.rglob(f"{row:02d}.*"))) for row in range(len(LENGTHS))]
    for shard in range(3):
        part = samples(videos, files[shard::3])
        write_shard(tmp_path / f"train-{shard:03d}.tar", part)
    labels = [row % 3 for shard in range(3) for row in range(shard, len(LENGTHS), 3)]
    for together in (2, 0):
        config.data.shuffle_shards = together
        check(using(config, tmp_path / "train-{000..002}.tar"), labels)


def test_shards_of_frames(config, folders, tmp_path):
    keys = [(row, folders / f"c{row}") for row in range(len(LENGTHS))]
    for shard in range(2):
        write_shard(tmp_path / f"{shard}.tar", samples(folders, keys[shard::2]))
    labels = [row % 3 for shard in range(2) for row in range(shard, len(LENGTHS), 2)]
    check(using(config, tmp_path / "*.tar"), labels)


def test_a_csv_list_of_names(config, videos, tmp_path):
    rows = [(path, path.parent.name) for path in sorted(videos.rglob("*.*"))]
    lines = [f"{label},{path}" for path, label in rows]
    (tmp_path / "list.csv").write_text("class,path\n" + "\n".join(lines))
    names = sorted({label for _, label in rows})
    check(using(config, tmp_path / "list.csv"), [names.index(label) for _, label in rows])


def test_every_source_of_the_same_clip_gives_nearly_the_same_pixels(config, folders, tmp_path):
    """Folder, shard and a mixed list (decoded by Pillow) of the same pictures."""
    folder = write_list(tmp_path / "folder.txt", [(f"{folders}/c0", 0)])
    shard = write_shard(tmp_path / "a.tar", [("x", folders / "c0", "0")])
    write_video(tmp_path / "v.webm", 20)
    mixed = write_list(tmp_path / "mixed.txt", [(f"{folders}/c0", 0), ("v.webm", 1)])
    config.data.batch_size = 1
    found = []
    for source in (folder, shard, mixed):
        one = using(copy.deepcopy(config), source)
        found.append(next(iter(create_loader(one, "validation"))).clips[0].int())
    assert torch.equal(found[0], found[1])
    assert (found[0] - found[2]).abs().max() <= 3


@pytest.fixture
def damaged(folders, tmp_path, config):
    """Folders that are indexed and then lose or break a frame."""
    root = tmp_path / "copy"
    shutil.copytree(folders, root)
    manifest = index_list(root / "list.txt", root / "list.arrow", progress=False).manifest
    (root / "c0" / "00003.jpg").unlink()
    (root / "c2" / "img_00010.jpg").write_bytes(b"no picture")
    picture = root / "c8" / "00001.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    shutil.rmtree(root / "c10")
    using(config, manifest.file).data.max_bad_share = 0.9
    return config


def test_folders_that_break_later_are_replaced_and_named(damaged, caplog):
    loader = create_loader(damaged, "train")
    rows = []
    for epoch in range(6):
        loader.set_epoch(epoch)
        rows += assert_frames_are_those_asked_for(loader)
    assert {0, 8, 10} <= loader.lost <= {0, 2, 8, 10}
    assert not {0, 8, 10} & set(rows)
    for row in loader.lost:
        told = [r.getMessage() for r in caplog.records if f"/c{row}:" in r.getMessage()]
        assert len(told) == 1
        assert "\n" not in told[0]
        if row in (2, 8):  # which of its frames, not which of DALI's samples
            assert "frame " in told[0]


def test_a_folder_whose_frames_are_renumbered_is_noticed(config, folders, tmp_path, caplog):
    """Every number would still have a picture, but the wrong one."""
    root = tmp_path / "copy"
    shutil.copytree(folders, root)
    manifest = index_list(root / "list.txt", root / "list.arrow", progress=False).manifest
    names = sorted((root / "c0").iterdir(), reverse=True)
    for path in names:
        path.rename(path.with_name(TEMPLATES[0].format(int(path.stem) + 1)))
    (root / "c2" / "notes.txt").write_text("this changes the folder, but not its frames")
    using(config, manifest.file).data.max_bad_share = 0.9
    loader = create_loader(config, "validation")
    rows = assert_frames_are_those_asked_for(loader)
    assert loader.lost == {0}
    assert rows == list(range(1, len(LENGTHS)))


def test_a_shard_that_is_replaced_by_a_shorter_one_is_named(config, folders, tmp_path, caplog):
    keys = [(row, folders / f"c{row}") for row in range(6)]
    shard = write_shard(tmp_path / "a.tar", samples(folders, keys))
    manifest = index_list(shard, tmp_path / "a.arrow", progress=False).manifest
    shard.write_bytes(shard.read_bytes()[: manifest.clip(3).offsets[0]])
    using(config, manifest.file).data.max_bad_share = 0.9
    loader = create_loader(config, "validation")
    rows = [row for batch in loader for row in batch.indices.tolist()]
    assert rows == [0, 1, 2]
    assert loader.lost == {3, 4, 5}


def test_classes_must_be_as_many_as_the_networks(config, videos):
    config.model.num_classes = 4
    with pytest.raises(UserError, match=r"data\.classes"):
        create_loader(using(config, videos), "train")


def test_class_names_from_a_file_decide_the_labels(config, videos, tmp_path):
    names = tmp_path / "classes.txt"
    names.write_text("dive\nclimb\nbrush\n")
    config.data.classes = str(names)
    labels = sorted(row % 3 for row in range(len(LENGTHS)))
    check(using(config, videos), [2 - label for label in labels])
