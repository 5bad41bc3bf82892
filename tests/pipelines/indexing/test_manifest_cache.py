from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdn.errors import UserError
from tdn.pipelines.indexing.manifest_cache import cache_path, manifest_of
from tdn.pipelines.indexing.run import index_list
from tests.sources import write_frame_folder, write_shard
from tests.videos import write_list, write_video

ROOT = Path(__file__).parents[3]

# Waits for the others, opens a list's manifest, and tells how many clips this process probed.
_TOGETHER = """
import logging, sys, time
from pathlib import Path
from tdn.pipelines.indexing import run as indexing
from tdn.errors import UserError
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.indexing.manifest_cache import manifest_of

logging.basicConfig(level=logging.INFO)
probed = 0
probe_clips = indexing.probe_clips

def counted(requests, workers, done):
    global probed
    probed += len(requests)
    return probe_clips(requests, workers, done)

indexing.probe_clips = counted
source, here, rank, world = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
(here / rank).touch()
while len(list(here.iterdir())) < world:
    time.sleep(0.01)
manifest = manifest_of(source, progress=False)
print(probed, manifest.digest(), manifest.frames.tolist())
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """A class folder of videos, one of which is missing its data."""
    root = tmp_path_factory.mktemp("videos")
    (root / "climb").mkdir()
    for number in range(5):
        write_video(root / "climb" / f"{number}.webm", number + 1, size=(32, 48))
    (root / "climb" / "5.webm").touch()
    return root


@pytest.mark.parametrize("world", [2, 4])
def test_of_processes_that_start_together_one_probes(videos, tmp_path, world):
    def start(rank: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", _TOGETHER, videos, tmp_path, str(rank), str(world)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)

    answers = []
    for process in [start(rank) for rank in range(world)]:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert "5.webm: is empty" in err  # told by each, as only one shows its news
        answers.append(out.strip().partition(" "))
    assert sorted(int(probed) for probed, _, _ in answers) == [0] * (world - 1) + [6]
    assert len({found for _, _, found in answers}) == 1
    assert answers[0][2].endswith("[1, 2, 3, 4, 5, 0]")


def test_a_process_that_starts_later_reads_what_changed(videos, tmp_path):
    copy = tmp_path / "copy"
    (copy / "climb").mkdir(parents=True)
    for file in (videos / "climb").iterdir():
        os.link(file, copy / "climb" / file.name)
    assert manifest_of(copy, progress=False).frames.tolist() == [1, 2, 3, 4, 5, 0]
    write_video(copy / "climb" / "9.webm", 7)
    assert manifest_of(copy, progress=False).frames.tolist() == [1, 2, 3, 4, 5, 0, 7]


def test_every_way_of_reading_a_source_has_a_manifest_of_its_own(tmp_path):
    source = tmp_path / "list.txt"
    ways = [
        {},
        {"root": tmp_path},
        {"classes": ("a", "b")},
        {"classes": ("b", "a")},
        {"template": "img_{:05d}.jpg"},
    ]
    paths = {cache_path(source, **way) for way in ways}
    assert len(paths) == len(ways)
    assert cache_path(tmp_path / "other.txt") not in paths
    assert cache_path("train-{000..031}.tar").parent == cache_path("a/*?.tar").parent


def test_every_kind_of_source_is_cached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_frame_folder(tmp_path / "c" / "climb" / "f", 3)
    write_list(tmp_path / "list.txt", [("c/climb/f", 1)])
    (tmp_path / "list.csv").write_text("path,label\nc/climb/f,1\n")
    write_shard(tmp_path / "s-0.tar", [("f", tmp_path / "c/climb/f", "1")])
    for source in ("c", "list.txt", "list.csv", "s-*.tar", "s-{0..0}.tar", "c/."):
        for _ in range(2):
            assert manifest_of(source, progress=False).frames.tolist() == [3]


def test_another_root_is_for_lists_only(tmp_path):
    """What was found in folders and shards lies where it was found."""
    write_frame_folder(tmp_path / "c" / "climb" / "f", 3)
    write_list(tmp_path / "lists.txt", [("climb/f", 1)])
    write_shard(tmp_path / "s.tar", [("f", tmp_path / "c/climb/f", "1")])
    for source in ("lists.txt", "c", "s.tar"):
        manifest = manifest_of(tmp_path / source, tmp_path / "c", progress=False)
        assert manifest.frames.tolist() == [3]


def test_a_file_system_without_locks_will_do(videos, monkeypatch):
    def no_locks(_file, _operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert len(manifest_of(videos, progress=False).usable) == 5


@pytest.fixture
def given(tmp_path):
    """A manifest that was made beforehand, of a class folder of frames."""
    write_frame_folder(tmp_path / "c" / "climb" / "f", 3, template="img_{:05d}.jpg")
    return index_list(tmp_path / "c", tmp_path / "m.arrow", progress=False).manifest.file


def test_a_manifest_is_taken_as_it_is(given):
    for options in ({}, {"classes": ("climb",)}, {"template": "img_{:05d}.jpg"}):
        assert manifest_of(given, **options).frames.tolist() == [3]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"classes": ("dive",)}, "--classes"), ({"template": "{:05d}.jpg"}, "--frame-template")],
)
def test_what_a_manifest_was_not_made_with_is_refused(given, options, told):
    with pytest.raises(UserError, match=rf"m\.arrow.*{told}") as error:
        manifest_of(given, **options)
    assert "\n" not in str(error.value)
