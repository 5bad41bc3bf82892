from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdn.config import DataConfig, EvaluationConfig
from tdn.pipelines.manifests.manifest import Clip, Manifest
from tdn.pipelines.manifests.writing import write_manifest
from tdn.pipelines.sampling.augmentation import mirrored, protocol_crops, validation_crop
from tdn.pipelines.sampling.plans import Planner
from tdn.pipelines.sampling.protocol import Protocol
from tdn.pipelines.sampling.segments import clip_frames, dense_starts, validation_starts

SIZE = (240, 320)


def clip_of(frames: int, row: int = 0) -> Clip:
    return Clip(
        row=row,
        path="v.webm",
        label=0,
        frames=frames,
        width=SIZE[1],
        height=SIZE[0],
        rotation=0,
        codec="vp9",
        pixel_format="yuv420p",
        size=1,
    )


def protocol(clips=1, crops=1, *, segments=8, seed=0, crop_size=None, **data) -> Protocol:
    evaluation = EvaluationConfig(clips=clips, crops=crops, crop_size=crop_size)
    return Protocol(DataConfig(**data), evaluation, segments, seed)


def views_of(views: Protocol, clip: Clip) -> list:
    return [views.view(clip, SIZE, number) for number in range(views.count)]


frame_counts = st.integers(1, 200)


@given(frame_counts, st.integers(1, 16), st.integers(1, 3))
def test_one_clip_and_crop_are_validation(frames, segments, stride):
    views = protocol(segments=segments, stride=stride)
    ((numbers, crop),) = views_of(views, clip_of(frames))
    starts = validation_starts(frames, segments, stride)
    assert numbers.tolist() == clip_frames(starts, frames, stride).tolist()
    assert crop == validation_crop(SIZE, (224, 224), 256)


@pytest.mark.parametrize(("clips", "crops"), [(1, 3), (2, 5), (3, 10), (10, 3)])
def test_a_view_is_a_crop_of_a_clip(clips, crops):
    """Clip by clip; the crops of a clip have its frames, the clips of a crop its place."""
    views = protocol(clips, crops)
    assert views.count == clips * crops
    found = views_of(views, clip_of(90))
    expected = protocol_crops(SIZE, views.target, 256, crops)
    for number, (frames, crop) in enumerate(found):
        assert crop == expected[number % crops]
        assert frames.tolist() == found[number // crops * crops][0].tolist()
    assert len({tuple(frames.flat) for frames, _ in found}) == clips
    if crops == 10:
        assert [crop for _, crop in found[5:10]] == [mirrored(crop) for _, crop in found[:5]]


def test_the_size_of_the_crops():
    """Three crops are as high as the resized frame unless another size is asked for."""
    assert protocol().target == (224, 224)
    assert protocol(crops=3).target == (256, 256)
    assert protocol(crops=3, short_side=128).target == (128, 128)
    assert protocol(crops=3, crop_size=224).target == (224, 224)
    assert protocol(crops=5, clips=10).target == (224, 224)
    views = Protocol(DataConfig(crop_size=(48, 64)), EvaluationConfig(crops=3), 8, 0)
    assert views.target == (48, 64)


def test_clips_are_drawn_as_in_training():
    """One start in each part, all of them alike and of each other independent."""
    parts, length, videos, clips = 4, 6, 150, 10
    views = protocol(clips, segments=parts)
    offsets = np.array(
        [
            views.view(clip_of(parts * length + 4, row), SIZE, number)[0][:, 0]
            for row in range(videos)
            for number in range(clips)
        ]
    ) - length * np.arange(parts)
    assert offsets.min() == 0
    assert offsets.max() == length - 1
    draws = videos * clips
    for part in range(parts):
        for other in range(part):
            pairs = np.bincount(offsets[:, part] * length + offsets[:, other])
            share = 1 / length**2
            assert len(pairs) == length**2
            assert np.abs(pairs - draws * share).max() < 5 * np.sqrt(draws * share * (1 - share))
    by_clip = offsets.reshape(videos, clips, parts)
    same = np.mean(by_clip[:, :1] == by_clip[:, 1:])  # of two clips of a video
    assert abs(same - 1 / length) < 5 * np.sqrt(1 / length / (videos * (clips - 1) * parts))


def test_clips_follow_from_the_seed():
    def frames(seed):
        return [v.tolist() for v, _ in views_of(protocol(10, seed=seed), clip_of(90))]

    assert frames(3) == frames(3)
    assert frames(3) != frames(4)


@given(frame_counts, st.integers(2, 12), st.integers(1, 8), st.integers(1, 100))
@example(frames=90, clips=11, segments=1, span=1)
def test_dense_clips_are_spread_over_the_video(frames, clips, segments, span):
    views = protocol(clips, segments=segments, sampling="dense", dense_span=span)
    firsts = [numbers[0, 0] for numbers, _ in views_of(views, clip_of(frames))]
    room = max(frames - span, 0)
    assert (firsts[0], firsts[-1]) == (0, room)
    steps = np.diff(firsts)
    assert steps.min() >= 0
    # There are room + 1 places to start at, of which each clip has a share, rounded down.
    assert np.abs(steps - (room + 1) / (clips - 1)).max() <= 1 + 1e-9
    ((one, _),) = views_of(
        protocol(segments=segments, sampling="dense", dense_span=span), clip_of(frames)
    )
    expected = dense_starts(frames, segments, span, 0.5)
    assert one.tolist() == clip_frames(expected, frames).tolist()


ROWS = 23


def manifest_of(folder: Path, unusable: set[int]) -> Manifest:
    """A manifest of files that do not exist: plans need none of them."""
    columns = {
        "path": [f"{row}.webm" for row in range(ROWS)],
        "label": [row % 4 for row in range(ROWS)],
        "frames": [0 if row in unusable else 30 + row for row in range(ROWS)],
        "width": [SIZE[1]] * ROWS,
        "height": [SIZE[0]] * ROWS,
        "codec": ["vp9"] * ROWS,
    }
    write_manifest(folder / "m.arrow", columns, "list.txt", folder)
    return Manifest(folder / "m.arrow")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory) -> dict[str, Manifest]:
    return {
        name: manifest_of(tmp_path_factory.mktemp(name), unusable)
        for name, unusable in (("whole", set()), ("part", {0, 5, 6, 22}))
    }


def make_planner(manifest, rank, world, batch, clips, crops) -> Planner:
    return Planner(
        manifest,
        DataConfig(batch_size=batch),
        segments=8,
        train=False,
        seed=7,
        rank=rank,
        world_size=world,
        evaluation=EvaluationConfig(clips=clips, crops=crops),
    )


def planned(manifest, world=1, batch=4, clips=3, crops=5, failed=()) -> dict:
    """Every view by row and number: frames and crop."""
    found = {}
    for rank in range(world):
        planner = make_planner(manifest, rank, world, batch, clips, crops)
        planner.failed.update(failed)
        assert planner.views_per_video == clips * crops
        for step in range(planner.steps):
            for view in planner.batch(0, step):
                key = view.clip.row, view.number
                assert key not in found
                assert view.label == view.clip.row % 4
                found[key] = view.frames.tolist(), view.crop
    return found


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([(1, 1), (3, 5), (2, 10), (4, 3)]))
def test_every_view_is_planned_once_on_any_number_of_processes(manifests, world, batch, kind):
    manifest = manifests["part"]
    found = planned(manifest, world, batch, *kind)
    views = kind[0] * kind[1]
    assert sorted(found) == [(row, n) for row in manifest.usable.tolist() for n in range(views)]
    alone = planned(manifest, 1, 4, *kind)
    assert found == alone


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([(1, 1), (3, 5), (4, 3)]))
def test_batches_hold_the_same_views_on_any_number_of_processes(manifests, world, batch, kind):
    """So each score is the same bits, as the network sees the same views together."""

    def batches(processes: int) -> dict[int, list[tuple[int, int]]]:
        found = {}
        for rank in range(processes):
            made = make_planner(manifests["part"], rank, processes, batch, *kind)
            for step in range(made.steps):
                views = [(view.clip.row, view.number) for view in made.batch(0, step)]
                number = made.batch_number(*views[0])
                assert number not in found
                found[number] = views
        return found

    alone, together = batches(1), batches(world)
    assert together == alone
    assert sorted(alone) == list(range(len(alone)))
    assert all(len(alone[number]) == batch for number in range(len(alone) - 1))


def test_views_do_not_depend_on_which_other_files_are_usable(manifests):
    whole, part = planned(manifests["whole"]), planned(manifests["part"])
    assert len(whole) - len(part) == 4 * 15
    assert {key: whole[key] for key in part} == part


def test_a_video_that_fails_is_left_out_and_nothing_else_changes(manifests):
    manifest = manifests["part"]
    before = planned(manifest)
    planner = Planner(manifest, DataConfig(batch_size=1), segments=8, train=False)
    lost = planner.batch(0, 3)[0].place
    after = planned(manifest, failed=[lost])
    assert {row for row, _ in before} - {row for row, _ in after} == {lost.row}
    assert {key: before[key] for key in after} == after
