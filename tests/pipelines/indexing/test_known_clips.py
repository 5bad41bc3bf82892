from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.pipelines.indexing.journal import Journal
from tdn.pipelines.indexing.known_clips import KnownClips, clip_key, read_known
from tdn.pipelines.indexing.probe import Probe, Request
from tdn.pipelines.indexing.run import index_list
from tests.sources import write_frame_folder, write_shard
from tests.videos import write_list, write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A video, a folder of frames and a shard of both."""
    root = tmp_path_factory.mktemp("files")
    write_video(root / "v.webm", 5)
    write_frame_folder(root / "f", 4)
    write_shard(root / "s.tar", [("v", root / "v.webm", "1"), ("f", root / "f", "0")])
    write_list(root / "list.txt", [("v.webm", 0), ("f", 1), ("gone.webm", 1), ("v.webm", 2)])
    return root


def requests_of(manifest) -> list[Request]:
    clips = [manifest.clip(row) for row in range(len(manifest))]
    return [Request(c.path, c.offsets, c.sizes, c.is_pictures) for c in clips]


def unchanged(known: KnownClips, requests: list[Request]) -> list[bool]:
    return (known.unchanged(requests, [clip_key(r) for r in requests]) >= 0).tolist()


@pytest.mark.parametrize("source", ["list.txt", "s.tar"])
def test_a_manifests_clips_are_known(files, tmp_path, source):
    output = tmp_path / "m.arrow"
    manifest = index_list(files / source, output, progress=False).manifest
    known = read_known(output, "", Journal(output, ""))
    requests = requests_of(manifest)
    matches = known.unchanged(requests, [clip_key(r) for r in requests]).tolist()
    # Of the same file twice the first; the missing one may have come.
    assert matches == ([0, 1, -1, 0] if source == "list.txt" else [0, 1])
    assert known.take(np.arange(2))["frames"].to_pylist() == manifest.frames[:2].tolist()
    assert len(read_known(output, "img_{:05d}.jpg", Journal(output, ""))) == 0


def probed(path: Path, **other) -> Probe:
    status = path.stat()
    size = 0 if path.is_dir() else status.st_size
    return Probe(frames=1, size=size, mtime=status.st_mtime_ns)._replace(**other)


def test_clips_that_changed_are_not(tmp_path):
    """Another size or time; a folder has only a time, and a part of a shard the shard's."""
    video, folder, shard = tmp_path / "v", tmp_path / "f", tmp_path / "s"
    video.write_bytes(b"video")
    shard.write_bytes(b"shard")
    folder.mkdir()
    requests = [Request(str(video)), Request(str(folder)), Request(str(shard), (2,), (3,))]
    same = [probed(video), probed(folder), probed(shard, size=3)]
    keys = [clip_key(request) for request in requests]

    def known(probes):
        return unchanged(KnownClips.of(keys, probes), requests)

    assert known(same) == [True, True, True]
    assert known([probe._replace(mtime=probe.mtime - 1) for probe in same]) == [False] * 3
    assert known([probe._replace(size=9) for probe in same]) == [False, True, True]
    assert known([probe._replace(mtime=0) for probe in same]) == [False] * 3  # it may pass
    elsewhere = [Request(str(shard), (1,), (4,))]
    assert unchanged(KnownClips.of(keys, same), elsewhere) == [False]
    for path in (video, shard):
        path.unlink()
    folder.rmdir()
    assert known(same) == [False] * 3


def test_the_journal_knows_better_than_the_manifest(files, tmp_path):
    output = tmp_path / "m.arrow"
    index_list(files / "list.txt", output, progress=False)
    journal = Journal(output, "")
    with journal.opened() as note:
        note(str(files / "v.webm"), probed(files / "v.webm", frames=77))
    known = read_known(output, "", journal)
    (match,) = known.unchanged([Request(str(files / "v.webm"))], [str(files / "v.webm")])
    assert known.take(np.array([match]))["frames"].to_pylist() == [77]


words = st.text(st.characters(codec="utf-8"), max_size=6)
probes = st.builds(
    Probe,
    frames=st.integers(0, 2**31 - 1),
    width=st.integers(0, 2**31 - 1),
    height=st.integers(0, 2**31 - 1),
    rotation=st.sampled_from([0, 90, 180, 270]),
    codec=words,
    pixel_format=words,
    template=words,
    first=st.integers(0, 2**31 - 1),
    size=st.integers(0, 2**62),
    mtime=st.integers(0, 2**62),
    plain=st.booleans(),
    gop=st.integers(0, 2**31 - 1),
    decoded=st.booleans(),
    checksum=st.integers(0, 2**32 - 1),
    problem=words,
)


@given(st.dictionaries(words, probes), st.dictionaries(words, probes), st.data())
def test_columns_hold_what_objects_held(first, second, data):
    known = KnownClips.of(list(first), list(first.values()))
    both = known.extended(KnownClips.of(list(second), list(second.values())))
    assert len(both) == len(first) + len(second)
    everything = [*first.values(), *second.values()]
    rows = data.draw(st.lists(st.integers(0, len(everything) - 1))) if everything else []
    columns = both.take(np.array(rows, np.int64))
    found = list(zip(*(columns[name].to_pylist() for name in Probe._fields), strict=True))
    assert found == [tuple(everything[row]) for row in rows]


def test_many_files_are_looked_at(tmp_path):
    """More than one chunk of them, in order."""
    paths = [tmp_path / f"{number}" for number in range(700)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * (number % 3))
        os.utime(path, ns=(number + 1, number + 1))
    requests = [Request(str(path)) for path in paths]
    states = [Probe(size=number % 3, mtime=number + 1) for number in range(700)]
    changed = [
        state._replace(mtime=state.mtime + (number % 7 == 0)) for number, state in enumerate(states)
    ]
    known = KnownClips.of([str(path) for path in paths], changed)
    assert unchanged(known, requests) == [number % 7 != 0 for number in range(700)]
