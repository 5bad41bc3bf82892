"""Damaged, replaced and vanished files: named, left out, and never shown as something else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tdn.config import Config, DataConfig, LoggingConfig, ModelConfig, TrainingConfig
from tdn.pipelines.files.subprocess_workers import Lost, Worker
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.manifests.manifest import Manifest
from tests.corpus import encode
from tests.mutations import KINDS, cuts, lies, mutant
from tests.pipelines import loading_tasks
from tests.pipelines.loading_tasks import Loaded
from tests.videos import write_list

SIZE = (96, 128)
FRAMES = 24
SOURCES = {
    "vp9.webm": {},
    "vp9.mp4": {"movflags": "faststart"},
    "vp8.webm": {},
    "h264.mp4": {"movflags": "faststart"},
    "h264.mkv": {},
    "h264.ts": {},
    "hevc.mp4": {},
    "av1.mp4": {},
    "mpeg4.avi": {},
    "mjpeg.avi": {},
    "mjpeg.mov": {},
}
"""Codec and container, and how it is written."""


@pytest.fixture(autouse=True)
def standing_prober() -> None:
    """Not here: decoders may crash."""


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        name: encode(folder / name, name.split(".")[0], FRAMES, size=SIZE, mux=mux)
        for name, mux in SOURCES.items()
    }


@pytest.fixture
def config() -> Config:
    """On the CPU: hardware decoders conceal damage. Decoded pictures come out as they are."""
    return Config(
        model=ModelConfig(num_segments=4, num_classes=3),
        data=DataConfig(
            batch_size=4,
            crop_size=SIZE,
            short_side=SIZE[0],
            scales=[1.0],
            flip=False,
            num_threads=1,
            max_bad_share=1.0,
        ),
        training=TrainingConfig(device="cpu"),
        logging=LoggingConfig(progress=False),
    )


@pytest.fixture(scope="module")
def loader() -> Iterator[Worker]:
    """A process that may crash or hang without harm."""
    with closing(Worker(f"{loading_tasks.__name__}:load", 120.0)) as worker:
        yield worker


def index(folder: Path) -> Manifest:
    rows = [(path.name, 0) for path in sorted(folder.iterdir())]
    source = write_list(folder.parent / "list.txt", rows)
    return index_list(source, folder.parent / "list.arrow", root=folder, progress=False).manifest


def load(loader: Worker, config: Config, manifest: Manifest) -> Loaded:
    """Everything the loader gives."""
    config.data.train_list = config.data.validation_list = str(manifest.file)
    loaded = loader.ask(config)
    assert not isinstance(loaded, Lost), loaded
    assert loaded.error == ""
    return loaded


def assert_nothing_went_unnoticed(manifest: Manifest, loaded: Loaded) -> None:
    """What is shown is what FFmpeg decodes; what is lost is named once, in a line."""
    names = {row: Path(manifest.clip(row).path).name for row in manifest.usable.tolist()}
    assert {names[row]: off for row, off in loaded.off.items() if off > 6} == {}
    assert all(len(shown) == 1 for frames in loaded.shown.values() for shown in frames.values())
    for row in loaded.lost:
        told = [text for text in loaded.warnings if f"/{names[row]}:" in text]
        assert 1 <= len(told) <= 2  # by each of two loaders
        assert not any("\n" in text for text in told)
    assert set(loaded.shown) | loaded.lost == set(names)


def write_mutants(folder: Path, sources: dict[str, Path], each: int, seed: int) -> None:
    """Each source undamaged, cut, lying, and `each` times damaged at random in every way."""
    rng = random.Random(seed)
    others = [*sources.values()][1:] + [*sources.values()][:1]
    for (name, path), other in zip(sources.items(), others, strict=True):
        shutil.copy(path, folder / f"good-{name}")
        for what, data in [*cuts(path), *lies(path)]:
            (folder / f"{what}-{name}").write_bytes(data)
        for kind in KINDS:
            for number in range(each):
                data = mutant(path.read_bytes(), other.read_bytes(), kind, rng)
                (folder / f"{kind}-{number}-{name}").write_bytes(data)


def test_files_that_are_damaged_when_they_are_indexed(tmp_path, sources, config, loader):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_mutants(folder, sources, 2, seed=1)
    manifest = index(folder)
    bad = manifest.problems()
    assert len(bad) > 20
    assert all(why and "\n" not in why for _, _, why in bad)
    assert not any("good" in path or "crash" in why or "stops" in why for _, path, why in bad)
    assert_nothing_went_unnoticed(manifest, load(loader, config, manifest))


def test_what_a_cut_leaves_has_the_right_numbers(tmp_path, sources, config, loader):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, path in sources.items():
        for what, data in cuts(path):
            (folder / f"{what}-{name}").write_bytes(data)
    manifest = index(folder)
    assert len(manifest.usable) > 50
    loaded = load(loader, config, manifest)
    assert_nothing_went_unnoticed(manifest, loaded)
    wrong = {
        Path(manifest.clip(row).path).name: frames
        for row, frames in loaded.shown.items()
        if any(shown != {number} for number, shown in frames.items())
    }
    assert wrong == {}


def test_files_that_are_damaged_after_they_were_indexed(tmp_path, sources, config, loader):
    folder = tmp_path / "videos"
    folder.mkdir()
    rng = random.Random(2)
    damaged = {}
    for name, path in sources.items():
        shutil.copy(path, folder / f"good-{name}")
        for kind in KINDS:
            damaged[f"{kind}-{name}"] = mutant(
                path.read_bytes(), path.read_bytes()[::-1], kind, rng
            )
            shutil.copy(path, folder / f"{kind}-{name}")
    manifest = index(folder)
    assert len(manifest.usable) == len(manifest) == len(sources) * (1 + len(KINDS))
    for name, data in damaged.items():
        (folder / name).write_bytes(data)
    loaded = load(loader, config, manifest)
    assert_nothing_went_unnoticed(manifest, loaded)
    kept = {Path(manifest.clip(row).path).name for row in loaded.shown}
    assert kept == {f"good-{name}" for name in sources}
    assert all(
        shown == {number} for frames in loaded.shown.values() for number, shown in frames.items()
    )
