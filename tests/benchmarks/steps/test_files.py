"""Training from files: the stall, real files, and what the page cache has of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.clips.data import JPEG, MEMORY
from benchmarks.harness.rows import read_results
from benchmarks.steps import copies, end_to_end
from benchmarks.steps.copies import SHARDS
from benchmarks.steps.files import AHEAD, TurnLoader, batches_of_a_turn, stall_values
from benchmarks.steps.page_cache import cached_percent, forget, read
from benchmarks.steps.peers import StepSize


class Clock:
    """Time that passes where somebody works."""

    now = 0.0

    def work(self, seconds):
        self.now += seconds


def test_the_stall_is_what_a_step_from_files_takes_longer(monkeypatch):
    """A step takes 1 s; the files make one wait 0.25 s, and when they are opened for long."""
    clock = Clock()
    monkeypatch.setattr("tdn.training.clock.time.perf_counter", lambda: clock.now)
    kinds = []

    def files():
        clock.work(100.0)
        kinds.append("files")
        for number in range(batches_of_a_turn(3)):
            clock.work(0.25)
            yield f"file {number}"

    class Memory(list):
        labels = (0, 1)

    loader = TurnLoader(files, Memory(), 2, 3, "cpu")
    given = []
    for batch in loader:
        given.append(batch)
        clock.work(1.0)
    assert len(given) == loader.listed // 2
    from_files = [isinstance(batch, str) for batch in given]
    turn = [True] * (AHEAD + 3)
    memory = [False] * (AHEAD + 3)
    assert from_files == [False] * AHEAD + turn + memory + memory + turn + [False]
    assert kinds == ["files", "files"]
    assert loader.memory == [(1.0, 0.0)] * 2
    assert loader.files == [(1.25, 0.25)] * 2
    values = stall_values(loader, clips=2)
    assert values["stall_percent"] == pytest.approx(20.0)
    assert values["wait_ms"] == pytest.approx(250.0)
    assert values["clips_per_s"] == pytest.approx(1.6)
    assert (values["turns"], values["steps_of_a_turn"]) == (2, 3)


def lie_in_memory(folder):
    """Whether a folder's files have no disk that they could be read from again."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    _, kind = max((m for m in mounts if folder.is_relative_to(m[0])), key=lambda m: len(m[0]))
    return kind in ("tmpfs", "ramfs")


def test_training_from_real_files(tmp_path, monkeypatch):
    output = tmp_path / "rows.jsonl"
    words = ["--parts", "files", "--sources", SHARDS, "--rounds", "1", "--threads", "1"]
    small = StepSize("tdn_resnet10", 2, 48, 1)
    monkeypatch.setitem(end_to_end.SIZES, "cpu", (small,))
    monkeypatch.setattr(copies, "FILES_MADE", 2)
    monkeypatch.setitem(end_to_end.TURN_SECONDS, "cpu", 0.0)
    assert training.main([*words, "--data", str(tmp_path), "--output", str(output)]) == 0
    control, *rows = read_results(output)
    assert control.case["source"] == MEMORY
    warm, cold = rows
    assert (warm.case["cache"], cold.case["cache"]) == ("warm", "cold")
    assert warm.values["cached_percent"] == 100
    if lie_in_memory(tmp_path):
        assert "does not forget" in cold.values["left_out"]
    else:
        assert cold.values["cached_percent"] < end_to_end.MOST_CACHED
    for result in (warm,) if "left_out" in cold.values else (warm, cold):
        assert result.values["stall_percent"] == pytest.approx(
            100 * (1 - result.values["memory_ms"] / result.values["files_ms"]), abs=0.1
        )
        assert 0 <= result.values["wait_ms"] <= result.values["files_ms"]
        assert result.values["loader_clips_per_s"] > 0
    assert control.values["wait_ms"] < control.values["files_ms"]


def test_copies_are_files_of_their_own(tmp_path, monkeypatch):
    """Three of two clips: as folders of pictures, and in shards."""

    def two_clips(folder, source, recipe, workers):
        for number in range(2):
            clip = folder / f"{number}{'' if source == JPEG else '.mp4'}"
            (clip / "00001.jpg" if source == JPEG else clip).parent.mkdir(exist_ok=True)
            (clip / "00001.jpg" if source == JPEG else clip).write_text(f"clip {number}")
        listed = folder / "list.txt"
        listed.write_text("0 1 0\n1 1 1\n" if source == JPEG else "0.mp4 0\n1.mp4 1\n")
        return listed

    monkeypatch.setattr(copies, "make_clips", two_clips)
    listed, paths = copies.copied_clips(tmp_path, JPEG, 3)
    names = ["00000-0", "00001-1", "00002-0"]
    assert Path(listed).read_text().splitlines() == [f"{n} 1 {n[-1]}" for n in names]
    assert sorted(path.parent.name for path in paths) == names
    assert len({path.stat().st_ino for path in paths}) == 3

    monkeypatch.setattr(copies, "CLIPS_OF_A_SHARD", 2)
    listed, paths = copies.copied_clips(tmp_path, SHARDS, 3)
    assert sorted(map(str, Path(listed).parent.glob(Path(listed).name))) == list(map(str, paths))
    texts = {}
    for path in paths:
        with tarfile.open(path) as tar:
            texts |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    assert texts == {
        **{f"{n:05d}.mp4": f"clip {n % 2}".encode() for n in range(3)},
        **{f"{n:05d}.cls": f"{n % 2}".encode() for n in range(3)},
    }


def test_files_are_forgotten_and_read(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(bytes(100_000))
    read(paths)
    assert cached_percent(paths) == 100
    forget(paths[:1])
    assert cached_percent(paths) == (100 if lie_in_memory(tmp_path) else 50)
    assert paths[0].read_bytes() == bytes(100_000)
