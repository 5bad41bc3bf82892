"""A run outlives its files: every loss is named, counted and replaced, on every process alike."""

from __future__ import annotations

import errno
import logging
import os
import shutil

import pytest

from tdn.pipelines.files import storage
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tdn.pipelines.manifests import file_checks
from tdn.pipelines.manifests.file_checks import FileChecks
from tdn.pipelines.manifests.manifest import Clip, Manifest
from tests.corpus import encode
from tests.permissions import bound_by_permissions
from tests.pipelines.loading_tasks import answered
from tests.videos import numbered_frame, write_list

SIZE = (96, 128)
CODECS = {"vp9": ".webm", "h264": ".mp4", "mjpeg": ".mov"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Twelve videos of three codecs."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(12):
        codec = list(CODECS)[number % 3]
        encode(folder / f"{number:02d}{CODECS[codec]}", codec, 8 + number, size=SIZE)
    return folder


@pytest.fixture
def folder(videos, tmp_path):
    """Copies that a test may damage."""
    shutil.copytree(videos, tmp_path / "videos")
    return tmp_path / "videos"


@pytest.fixture
def manifest(folder, config) -> Manifest:
    source = write_list(folder / "list.txt", [(p.name, 0) for p in sorted(folder.glob("*.*"))])
    found = index_list(source, folder / "list.arrow", progress=False).manifest
    config.data.train_list = config.data.validation_list = str(found.file)
    config.data.max_bad_share = 0.9
    config.data.scales, config.data.flip = [1.0], False
    return found


def replaced(path):
    """Another video in the same place, of the same size."""
    size = path.stat().st_size
    other = encode(path.with_stem("other"), "vp9", [numbered_frame(200, 48, 64)] * 3, size=(48, 64))
    data = other.read_bytes()
    other.unlink()
    assert len(data) < size
    path.write_bytes(data + bytes(size - len(data)))


def looped(path):
    path.unlink()
    path.symlink_to(path)


def emptied(path):
    path.write_bytes(b"")


def gone(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_fifo(path):
    path.unlink()
    os.mkfifo(path)


def cut_short(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def text(path):
    path.write_text("no video" * 50)


LOSSES = [replaced, looped, emptied, gone, a_folder, a_fifo, cut_short, text]


def test_every_kind_of_loss_is_named_once_with_its_cause(folder, manifest, config):
    paths = [manifest.clip(row).path for row in range(len(LOSSES))]
    for row, loss in enumerate(LOSSES):
        loss(folder / os.path.basename(paths[row]))  # noqa: PTH119 - a string
    config.training.device = "cpu"
    loaded = answered("load", config, 60.0)
    assert loaded.error == ""
    assert loaded.lost == set(range(len(LOSSES)))
    assert set(loaded.shown) == set(range(len(LOSSES), 12))
    for path in paths:
        told = [warning for warning in loaded.warnings if f"{path}:" in warning]
        assert len(told) == 2  # by the loader of each split
        assert len(set(told[0].splitlines())) == 1
    assert all(
        shown == {number} for frames in loaded.shown.values() for number, shown in frames.items()
    )


def test_an_unreadable_file_is_a_loss(public_folder, videos, config):
    for path in videos.iterdir():
        shutil.copy(path, public_folder)
    rows = [(path.name, 0) for path in sorted(public_folder.iterdir())]
    source = write_list(public_folder / "list.txt", rows)
    manifest = index_list(source, public_folder / "list.arrow", progress=False).manifest
    assert len(manifest.usable) == 12
    (public_folder / rows[3][0]).chmod(0)
    config.data.validation_list = str(manifest.file)
    with bound_by_permissions():
        loader = create_loader(config, "validation")
        rows_given = [row for batch in loader for row in batch.indices.tolist()]
    assert rows_given == [row for row in range(12) if row != 3]


def test_the_losses_are_counted_at_the_end_of_every_epoch(folder, manifest, config, caplog):
    caplog.set_level(logging.WARNING, "tdn")
    loader = create_loader(config, "train")
    list(loader)
    assert not caplog.records
    for row in (0, 1):
        os.unlink(manifest.clip(row).path)  # noqa: PTH108 - a string
    for epoch in (1, 2, 3):
        loader.set_epoch(epoch)
        caplog.clear()
        list(loader)
    assert loader.lost == {0, 1}
    assert "2 of 12" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 1  # each file was named before


def test_a_hiccup_of_the_storage_costs_nothing(manifest, config, monkeypatch):
    """Every file answers with an error that passes, once."""
    waited, failed = [], set()
    stat = os.stat

    def hiccup(path, **options):
        if path not in failed:
            failed.add(path)
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, **options)

    monkeypatch.setattr(file_checks.os, "stat", hiccup)
    monkeypatch.setattr(storage.time, "sleep", waited.append)
    loader = create_loader(config, "validation")
    rows = [row for batch in loader for row in batch.indices.tolist()]
    assert rows == list(range(12))
    assert not loader.lost
    assert len(waited) >= 12


@pytest.fixture
def failing_rows(monkeypatch) -> set[int]:
    """Rows whose files cannot be read by this process."""
    rows: set[int] = set()
    change = FileChecks.change

    def changed(self: FileChecks, clip: Clip) -> str:
        return "is bad" if clip.row in rows else change(self, clip)

    monkeypatch.setattr(FileChecks, "change", changed)
    return rows


def given(config, rank: int, world_size: int, epochs: int = 4) -> list[list[int]]:
    """Rows of each batch."""
    loader = create_loader(config, "train", rank=rank, world_size=world_size)
    batches = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        batches += [batch.indices.tolist() for batch in loader]
    return batches


def test_a_file_that_fails_on_one_process_only_leaves_all_in_step(manifest, config, failing_rows):
    config.data.batch_size = 2
    whole = [given(config, rank, 2) for rank in range(2)]
    failing = whole[1][0][0]
    failing_rows.add(failing)
    hurt = given(config, 1, 2)
    assert len(hurt) == len(whole[1]) == len(whole[0])
    assert not any(failing in batch for batch in hurt)
    changed = [
        (before, after)
        for batch, other in zip(whole[1], hurt, strict=True)
        for before, after in zip(batch, other, strict=True)
        if before != after
    ]
    assert {before for before, _ in changed} == {failing}


def test_what_takes_a_place_does_not_depend_on_the_number_of_processes(
    manifest, config, failing_rows
):
    failing_rows |= {2, 5, 7}
    config.data.batch_size = 4
    alone = [row for batch in given(config, 0, 1) for row in batch]
    config.data.batch_size = 2
    together = zip(given(config, 0, 2), given(config, 1, 2), strict=True)
    assert alone == [row for batches in together for batch in batches for row in batch]
    assert not failing_rows & set(alone)
