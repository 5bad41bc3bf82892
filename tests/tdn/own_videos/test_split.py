from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.own_videos.split import MOST, SHARE, Split, Video, group, split

STEMS = st.sampled_from(
    ["a", "b", "c", "walk_001", "walk_002", "v_g01_c01", "v_g01_c02", "v_g02_c01", "X_G07_C3"]
)
PLACES = st.tuples(st.sampled_from(["up", "down", "left"]), st.sampled_from(["", "day 1", "2"]))


@st.composite
def folders(draw) -> list[Video]:
    """Videos of up to three classes, some of them copies, pieces or other formats of others."""
    found = {}
    for _ in range(draw(st.integers(2, 40))):
        name, place = draw(PLACES)
        file = draw(STEMS) + draw(st.sampled_from([".mp4", ".webm", ".MOV"]))
        path = "/".join(filter(None, (name, place, file)))
        found[path] = Video(path, name, draw(st.none() | st.integers(0, 60)))
    return list(found.values())


def divided(videos: list[Video], seed: int = 0) -> Split:
    """The split; what cannot be divided is another test's."""
    try:
        return split(videos, seed)
    except UserError:
        assume(False)
        raise


@given(folders(), st.integers(0, 5))
def test_no_source_stands_on_both_sides_and_every_class_on_each(videos, seed):
    done = divided(videos, seed)
    assert sorted(done.train + done.validation) == sorted(videos)
    validated = {video.path for video in done.validation}
    for source in group(videos):
        assert len({video.path in validated for video in source}) == 1
    names = {video.name for video in videos}
    assert {video.name for video in done.train} == names
    assert {video.name for video in done.validation} == names


@given(folders(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_seed_decides_and_not_the_order_of_the_files(videos, seed, rng):
    one = divided(videos, seed)
    shuffled = videos.copy()
    rng.shuffle(shuffled)
    other = split(shuffled, seed)
    assert {video.path for video in one.validation} == {video.path for video in other.validation}


@given(folders())
def test_what_cannot_be_divided_is_a_class_with_one_source(videos):
    whole = {name for name in ("up", "down", "left") if _own_sources(videos, name) > 1}
    if {video.name for video in videos} <= whole:
        split(videos, 0)
        return
    try:
        split(videos, 0)
    except UserError as error:
        message = str(error)
        assert not any(f"'{name}'" in message for name in whole)


def _own_sources(videos: list[Video], name: str) -> int:
    """Sources that have videos of this class and of no other."""
    return sum({video.name for video in source} == {name} for source in group(videos))


@given(st.lists(st.integers(2, 30), min_size=2, max_size=6), st.integers(0, 9))
def test_classes_give_the_same_share(counts, seed):
    videos = [
        Video(f"{name}/{number}.mp4", str(name))
        for name, count in enumerate(counts)
        for number in range(count)
    ]
    validated = Counter(video.name for video in split(videos, seed).validation)
    for name, count in enumerate(counts):
        assert validated[str(name)] == max(1, round(SHARE * count))


def test_many_videos_give_a_smaller_share():
    videos = [Video(f"{n % 2}/{n}.mp4", str(n % 2), n) for n in range(30_000)]
    done = split(videos, 3)
    assert len(done.validation) == MOST
    assert len(done.train) == 25_000


def test_another_seed_is_another_split():
    videos = [Video(f"{n % 2}/{n}.mp4", str(n % 2)) for n in range(40)]
    found = {tuple(video.path for video in split(videos, seed).validation) for seed in range(5)}
    assert len(found) == 5


def test_a_video_more_moves_few_others():
    videos = [Video(f"{n % 2}/{n}.mp4", str(n % 2)) for n in range(100)]
    before = {video.path for video in split(videos, 0).validation}
    after = {video.path for video in split([*videos, Video("0/new.mp4", "0")], 0).validation}
    assert len(before - after) <= 1


def sources(*paths: str) -> list[list[str]]:
    videos = [Video(path, path.split("/")[0]) for path in paths]
    return sorted(sorted(video.path for video in source) for source in group(videos))


@pytest.mark.parametrize(
    "together",
    [
        ("w/a.mp4", "w/a.webm"),
        ("w/a.mp4", "w/a"),  # and its frames
        ("w/v_g01_c01.mp4", "w/v_g01_c02.mp4", "w/v_g01_c11.avi"),
        ("w/x/v_g01_c01.mp4", "w/y/v_g01_c02.mp4"),
    ],
)
def test_names_of_one_source(together):
    assert sources(*together) == [sorted(together)]


@pytest.mark.parametrize(
    "apart",
    [
        ("w/walk_001.mp4", "w/walk_002.mp4"),  # most numbers count what has nothing in common
        ("w/VID_20260101_120000.mp4", "w/VID_20260101_120100.mp4"),
        ("w/day1/0.mp4", "w/day2/0.mp4"),
        ("w/clip.01", "w/clip.02"),  # folders of frames
        ("w/v_g01_c01.mp4", "w/v_g02_c01.mp4"),
        ("w/v_g01_c01.mp4", "r/v_g01_c02.mp4"),
    ],
)
def test_names_of_several_sources(apart):
    assert len(sources(*apart)) == len(apart)


def test_sources_that_share_a_video_are_one():
    chain = [
        Video("w/v_g01_c01.mp4", "w", 1),
        Video("w/v_g01_c02.mp4", "w", 2),
        Video("w/copy.mp4", "w", 2),
        Video("w/copy.webm", "w", 3),
        Video("w/other.mp4", "w", 4),
    ]
    for order in itertools.permutations(chain):
        assert sorted(len(source) for source in group(order)) == [1, 4]


def test_a_video_in_two_classes_is_told_and_only_trained_on():
    videos = [Video(f"{n % 2}/{n}.mp4", str(n % 2), n) for n in range(20)]
    videos.append(Video("1/copy of 0.mp4", "1", 0))
    for seed in range(9):
        done = split(videos, seed)
        assert [sorted(video.path for video in source) for source in done.contradictory] == [
            ["0/0.mp4", "1/copy of 0.mp4"]
        ]
        assert not {"0/0.mp4", "1/copy of 0.mp4"} & {video.path for video in done.validation}


def test_a_large_source_is_not_all_that_is_validated():
    videos = [Video(f"w/v_g{g:02d}_c{c:02d}.mp4", "w", (g, c)) for g in range(8) for c in range(5)]
    videos += [Video(f"r/{n}.mp4", "r", n) for n in range(10)]
    for seed in range(9):
        rng = random.Random(seed)
        rng.shuffle(videos)
        done = split(videos, seed)
        counts = Counter(video.name for video in done.validation)
        assert counts == {"w": 5, "r": 2}


@pytest.mark.parametrize(
    ("videos", "says"),
    [
        ([Video("w/a.mp4", "w"), Video("r/a.mp4", "r"), Video("r/b.mp4", "r")], "1 usable video"),
        (
            [Video("w/a.mp4", "w", 1), Video("w/b.mp4", "w", 1), Video("r/a.mp4", "r")],
            "class 'r' has 1 usable video",
        ),
        (
            [
                *(Video(f"w/{name}.mp4", "w", "equal") for name in "ab"),
                *(Video(f"r/{name}.mp4", "r") for name in "ab"),
            ],
            "2 videos of one source",
        ),
        (
            [Video("w/a.mp4", "w", 1), Video("r/a.mp4", "r", 1), Video("r/b.mp4", "r", 2)],
            "stand in other classes",
        ),
    ],
)
def test_a_class_of_one_source_is_refused(videos, says):
    with pytest.raises(UserError, match=says):
        split(videos, 0)
