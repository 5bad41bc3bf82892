from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.config import DataConfig
from tdn.flip_labels import FLIP_MAPS
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.manifests.writing import write_manifest
from tdn.pipelines.sampling.plans import Planner

ROWS = 37
UNUSABLE = (0, 9, 36)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    """A manifest of files that do not exist: plans need none of them."""
    folder = tmp_path_factory.mktemp("manifest")
    usable = [row not in UNUSABLE for row in range(ROWS)]
    columns = {
        "path": [f"{row}.webm" for row in range(ROWS)],
        "label": [row % 4 for row in range(ROWS)],
        "line": list(range(1, ROWS + 1)),
        "frames": [10 + row if ok else 0 for row, ok in enumerate(usable)],
        "width": [128] * ROWS,
        "height": [96] * ROWS,
        "rotation": [90 if row == 1 else 0 for row in range(ROWS)],
        "codec": ["vp9"] * ROWS,
        "pixel_format": ["yuv420p"] * ROWS,
        "size": [1] * ROWS,
        "mtime": [1] * ROWS,
        "problem": ["" if ok else "is empty" for ok in usable],
    }
    write_manifest(folder / "m.arrow", columns, Path("list.txt"), folder)
    return Manifest(folder / "m.arrow")


def planner(manifest, *, train=True, batch=3, rank=0, world_size=1, seed=5, **data) -> Planner:
    settings = DataConfig(batch_size=batch, crop_size=64, **data)
    return Planner(manifest, settings, 8, train, seed, rank, world_size)


def accumulating(manifest, accumulate, **settings) -> Planner:
    return dataclasses.replace(planner(manifest, **settings), accumulate=accumulate)


def plain(views):
    return [(v.clip.row, v.label, v.frames.tolist(), v.crop) for v in views]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_the_global_order_does_not_depend_on_the_number_of_processes(manifest, world, batch, epoch):
    processes = [planner(manifest, batch=batch, rank=r, world_size=world) for r in range(world)]
    one = planner(manifest, batch=batch * world)
    assert {p.steps for p in processes} == {one.steps}
    for step in range(one.steps):
        together = [view for p in processes for view in p.batch(epoch, step)]
        assert plain(together) == plain(one.batch(epoch, step))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_batches_of_one_step_are_one_large_batch(manifest, world, batch, count, epoch):
    processes = [
        accumulating(manifest, count, batch=batch, rank=rank, world_size=world)
        for rank in range(world)
    ]
    one = planner(manifest, batch=batch * world * count)
    assert {p.steps for p in processes} == {one.steps * count}
    for step in range(one.steps):
        numbers = range(step * count, (step + 1) * count)
        together = [view for n in numbers for p in processes for view in p.batch(epoch, n)]
        assert plain(together) == plain(one.batch(epoch, step))


def test_an_epoch_holds_each_usable_video_at_most_once(manifest):
    one = planner(manifest)
    rows = [view.clip.row for step in range(one.steps) for view in one.batch(0, step)]
    assert len(rows) == len(set(rows)) == one.steps * 3
    assert not set(rows) & set(UNUSABLE)
    other = [view.clip.row for step in range(one.steps) for view in one.batch(1, step)]
    assert rows != other


def test_any_step_can_be_planned_again_alone(manifest):
    one = planner(manifest)
    steps = [plain(one.batch(epoch, step)) for epoch in range(2) for step in range(one.steps)]
    fresh = planner(manifest)
    assert plain(fresh.batch(1, 4)) == steps[one.steps + 4]
    assert plain(fresh.batch(0, 2)) == steps[2]
    assert plain(planner(manifest, seed=6).batch(0, 2)) != steps[2]


@given(st.integers(1, 5), st.integers(1, 6))
def test_validation_covers_each_usable_video_exactly_once(manifest, world, batch):
    rows = []
    for rank in range(world):
        part = planner(manifest, train=False, batch=batch, rank=rank, world_size=world)
        batches = [part.batch(0, step) for step in range(part.steps)]
        assert all(batches)
        assert all(len(b) == batch for b in batches[:-1])
        rows += [view.clip.row for b in batches for view in b]
    assert sorted(rows) == manifest.usable.tolist()


def test_validation_is_not_random(manifest):
    first = planner(manifest, train=False, seed=1)
    assert plain(first.batch(0, 1)) == plain(planner(manifest, train=False, seed=2).batch(3, 1))


def test_failed_views_are_substituted_in_training_and_nothing_else_moves(manifest):
    before, after = planner(manifest), planner(manifest)
    lost = before.batch(0, 1)[1]
    after.failed.add(lost.place)
    for epoch in range(2):
        for step in range(before.steps):
            old, new = (plain(p.batch(epoch, step)) for p in (before, after))
            if (epoch, step) == (0, 1):
                assert old[1][0] != new[1][0]
                old[1] = new[1]
            assert old == new
    substitute = after.batch(0, 1)[1]
    assert plain(after.batch(0, 1)) == plain(after.batch(0, 1))
    after.failed.add(substitute.place)
    assert after.batch(0, 1)[1].clip.row not in (lost.clip.row, substitute.clip.row)


def test_failed_views_are_left_out_in_validation(manifest):
    part = planner(manifest, train=False)
    part.failed = {view.place for view in part.batch(0, 0)}
    assert [view.clip.row for view in part.batch(0, 0)] == []
    assert [view.clip.row for view in part.batch(7, 0)] == []
    assert [view.clip.row for view in part.batch(0, 1)] == [4, 5, 6]


def test_half_of_the_clips_are_mirrored_and_change_their_label(manifest):
    flipping = planner(manifest, flip_labels={0: 1, 1: 0})
    straight = planner(manifest, flip=False)
    flips, changes = [], 0
    for epoch in range(20):
        for step in range(flipping.steps):
            pairs = zip(flipping.batch(epoch, step), straight.batch(epoch, step), strict=True)
            for view, same in pairs:
                assert view.clip == same.clip
                assert view.frames.tolist() == same.frames.tolist()
                assert view.crop.window == same.crop.window
                mirrored = view.crop.region[1] > view.crop.region[3]
                assert same.crop.region[1] < same.crop.region[3]
                expected = {0: 1, 1: 0}.get(same.label, same.label) if mirrored else same.label
                assert view.label == expected
                changes += view.label != same.label
                flips.append(mirrored)
    assert abs(np.mean(flips) - 0.5) < 4 * 0.5 / np.sqrt(len(flips))
    assert changes > 100


def test_a_map_that_goes_by_a_name_is_the_map(manifest, monkeypatch):
    monkeypatch.setitem(FLIP_MAPS, "something-something", {0: 1, 1: 0})
    named, explicit, without = (
        planner(manifest, flip_labels=given) for given in ("something-something", {0: 1, 1: 0}, {})
    )
    batches = [
        [plain(p.batch(0, step)) for step in range(p.steps)] for p in (named, explicit, without)
    ]
    assert batches[0] == batches[1] != batches[2]


def test_rotated_videos_are_cropped_upright(manifest):
    part = planner(manifest, train=False, batch=2)
    turned, upright = part.batch(0, 0)
    assert (turned.clip.row, upright.clip.row) == (1, 2)
    assert turned.crop != upright.crop
    assert turned.crop.window[0] == upright.crop.window[1]


def test_plans_use_the_whole_configuration(manifest):
    part = planner(manifest)
    wide = dataclasses.replace(part.data, crop_size=(48, 96))
    assert Planner(manifest, wide, 8, True).target == (48, 96)
    assert part.target == (64, 64)
    assert part.batch(0, 0)[0].frames.shape == (8, 5)


def test_short_clips_are_left_out_of_training_only(manifest):
    part = planner(manifest, min_frames=30, batch=1)
    long = [row for row in manifest.usable.tolist() if manifest.frames[row] >= 30]
    assert part.rows.tolist() == long
    assert 0 < len(long) < len(manifest.usable)
    rows = [view.clip.row for step in range(part.steps) for view in part.batch(0, step)]
    assert sorted(rows) == long
    place = part.batch(0, 0)[0].place
    part.failed.add(place)
    assert part.batch(0, 0)[0].clip.frames >= 30
    assert planner(manifest, train=False, min_frames=30).rows.tolist() == manifest.usable.tolist()


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=7),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(0, 5),
)
def test_shards_are_read_a_few_at_a_time_whatever_is_left_out(
    tmp_path_factory, sizes, together, min_frames, epoch
):
    """Unusable and short clips leave the others in their shards; all of them come."""
    shard_of = np.repeat(np.arange(len(sizes)), sizes)
    frames = np.arange(len(shard_of)) * 7 % 5  # 0: unusable
    columns = {
        "path": [f"{shard}.tar" for shard in shard_of],
        "member": [f"{row}.webm" for row in range(len(shard_of))],
        "frames": frames,
        "width": [128] * len(frames),
        "height": [96] * len(frames),
        "offsets": [[512]] * len(frames),
        "sizes": [[100]] * len(frames),
    }
    folder = tmp_path_factory.mktemp("shards")
    write_manifest(folder / "m.arrow", columns, "s-{0..6}.tar", folder)
    part = planner(
        Manifest(folder / "m.arrow"), batch=1, min_frames=min_frames, shuffle_shards=together
    )
    rows = [part.batch(epoch, step)[0].clip.row for step in range(part.steps)]
    assert sorted(rows) == np.flatnonzero(frames >= min_frames).tolist()
    open_shards: list[int] = []
    for position, row in enumerate(rows):
        open_shards = [s for s in open_shards if s in shard_of[rows[position:]]]
        if shard_of[row] not in open_shards:
            open_shards.append(shard_of[row])
        assert len(open_shards) <= (together or len(sizes))
