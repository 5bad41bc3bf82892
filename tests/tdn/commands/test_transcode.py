from __future__ import annotations

import pytest

from tdn import cli
from tdn.config import Config, DataConfig, ModelConfig, TrainingConfig
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.loader import create_loader
from tests.videos import read_number, write_list, write_video


@pytest.fixture
def listed(tmp_path):
    for row, codec in enumerate(("vp9", "h264", "mjpeg")):
        write_video(tmp_path / f"{row}", 20 + row, codec=codec)
    (tmp_path / "bad.webm").write_text("text")
    rows = [("0.webm", 2), ("bad.webm", 0), ("1.mp4", 1), ("2.avi", 0)]
    return write_list(tmp_path / "train.txt", rows)


@pytest.fixture
def config():
    return Config(
        model=ModelConfig(num_segments=4, num_classes=3),
        data=DataConfig(batch_size=3, crop_size=(48, 64), num_threads=1, scales=[1.0], flip=False),
        training=TrainingConfig(device="cpu"),
    )


def transcode(listed, *words):
    words = ["transcode", str(listed), "-o", str(listed.parent / "fast"), "--workers", "2", *words]
    return cli.main(words)


@pytest.mark.parametrize(
    ("words", "source", "codec"),
    [
        ([], "train.txt", None),
        (["--format", "vp9", "--gop", "3", "--short-side", "48"], "train.txt", "vp9"),
        (["--format", "mjpeg"], "train.txt", "mjpeg"),
        (["--format", "jpeg", "--short-side", "48"], "train.txt", "jpeg"),
        (["--format", "h264", "--shards", "2"], "train-{000000..000001}.tar", "h264"),
    ],
)
def test_the_copy_trains_as_it_is(listed, config, capsys, words, source, codec):
    assert transcode(listed, *words) == 0
    told = capsys.readouterr().out
    source = str(listed.parent / "fast" / source)
    assert source in told
    assert "bad.webm" in told
    manifest = manifest_of(source)
    assert manifest.labels.tolist() == [2, 1, 0]
    assert manifest.frames.tolist() == [20, 21, 22]
    if codec:
        assert {kind.codec for kind in manifest.kinds()} == {codec}
    side = 48 if "48" in words else 96
    assert {kind.side for kind in manifest.kinds()} == {side}
    config.data.train_list = source
    batch = next(iter(create_loader(config, "train")))
    shown = [[read_number(frame) for frame in clip.flatten(0, 1).numpy()] for clip in batch.clips]
    assert shown == batch.frame_numbers.flatten(1).tolist()


def test_measuring_prints_both_sides(listed, capsys, monkeypatch):
    from tdn.pipelines.transcoding import measuring

    monkeypatch.setitem(measuring.compare.__kwdefaults__, "seconds", 0.01)
    monkeypatch.setattr(measuring, "_ROUNDS", 1)
    assert transcode(listed, "--measure") == 0
    told = capsys.readouterr().out
    assert "original" in told
    assert "clips/s" in told


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "divx"],
        ["--short-side", "255"],
        ["--gop", "0"],
        ["--gop", "x"],
        ["--format", "jpeg", "--gop", "2"],
        ["--shards", "0"],
        ["--workers", "0"],
        ["--root", "/nowhere"],
        ["--classes", "none.txt"],
    ],
)
def test_mistakes_are_one_line_and_write_nothing(listed, capsys, words):
    before = sorted(listed.parent.rglob("*"))
    assert transcode(listed, *words) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert words[0] in told or words[1] in told
    assert sorted(listed.parent.rglob("*")) == before
