"""Every frame is the one that was asked for: its picture shows its number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tdn.pipelines.decoding.decoders import video_by_dali
from tdn.pipelines.indexing.probe import probe_video
from tdn.pipelines.indexing.run import index_list
from tdn.pipelines.loader import create_loader
from tdn.pipelines.manifests.manifest import Manifest
from tests.corpus import FRAMES, OPTIONS, SIZE, Video, encode, join, write_corpus
from tests.videos import numbered_frame, read_number, write_list


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> dict[str, Video]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def manifest(corpus, tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("manifest")
    rows = [(video.path, row % 3) for row, video in enumerate(corpus.values())]
    source = write_list(folder / "list.txt", rows)
    return index_list(source, folder / "list.arrow", progress=False).manifest


@pytest.fixture
def config(config, manifest):
    config.data.train_list = config.data.validation_list = str(manifest.file)
    config.data.batch_size = 3
    config.data.flip = False
    config.data.scales = [1.0]
    return config


def frames_shown(loader, corpus: dict[str, Video]) -> list[str]:
    """Checks all clips of a loader; returns the names of the videos it gave."""
    names, given = list(corpus), []
    for batch in loader:
        clips = batch.clips.flatten(1, 2).cpu().numpy()
        for row, clip, numbers in zip(
            batch.indices.tolist(), clips, batch.frame_numbers.flatten(1).tolist(), strict=True
        ):
            name = names[row]
            found = [read_number(frame) for frame in clip]
            assert found == [corpus[name].shows[number] for number in numbers], name
            given.append(name)
    return given


def test_every_video_is_counted_exactly(corpus, manifest):
    counted = dict(zip(corpus, manifest.frames.tolist(), strict=True))
    assert counted == {name: len(video.shows) for name, video in corpus.items()}


def test_decoding_everything_finds_the_same(corpus):
    for name, video in corpus.items():
        found = probe_video(video.path, thorough=True)
        assert (found.problem, found.frames, found.decoded) == ("", len(video.shows), True), name


def test_training_gives_the_frames_it_says(corpus, config):
    loader = create_loader(config, "train")
    given = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        given += frames_shown(loader, corpus)
    assert set(given) == set(corpus)
    assert not loader.lost


def test_validation_gives_the_frames_it_says(corpus, config):
    loader = create_loader(config, "validation")
    assert frames_shown(loader, corpus) == list(corpus)
    assert not loader.lost


def test_hardware_decodes_what_is_plain_and_pyav_the_rest(corpus, manifest):
    on_gpu = {
        name for row, name in enumerate(corpus) if video_by_dali(manifest.clip(row), gpu=True)
    }
    assert {"h264-mp4", "hevc-mp4", "av1-mp4", "h264-open-gop-mp4", "vp9-webm"} <= on_gpu
    assert {"vp8-webm", "vp9-alt-ref", "vp9-uneven.mp4", "sound-after"} <= on_gpu
    odd = {"vp8-alt-ref", "vp8-avi", "vp9-444", "vp9-turned-90", "vp9-times-twice", "two-videos"}
    odd |= {"second-video-is-the-default", "begins-at-3-vp9.mp4", "begins-without-key-vp9.webm"}
    odd |= {"begins-in-open-gop.mkv", "h264-ts", "hevc-10-bit", "mpeg4-mp4", "cover-after.mp4"}
    assert not odd & on_gpu


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("vp8", ".webm"), ("vp9", ".webm"), ("mjpeg", ".avi"), ("h264", ".ts"), ("hevc", ".ts")],
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_video_that_changes_its_size_is_refused(tmp_path, codec, suffix, first):
    """DALI would show pieces of old pictures or of nothing in the rest of the larger frame."""
    small = encode(tmp_path / f"small{suffix}", codec)
    large = encode(tmp_path / f"large{suffix}", codec, size=(192, 256))
    parts = (small, large) if first == 0 else (large, small)
    found = probe_video(join(tmp_path / f"joined{suffix}", parts))
    assert "size" in found.problem
    assert str(FRAMES) in found.problem  # the first frame of the other size


def test_a_size_that_only_the_container_claims_keeps_dali_away(tmp_path):
    """DALI believes the container, and writes past the end of its memory."""
    path = encode(tmp_path / "a.webm", "vp9", size=(96, 128))
    assert probe_video(path).plain
    data = path.read_bytes()
    width = b"\xb0\x81\x80"  # PixelWidth, one byte, 128
    assert data.count(width) == 1
    path.write_bytes(data.replace(width, b"\xb0\x81\x7c"))
    found = probe_video(path)
    assert (found.problem, found.width, found.plain) == ("", 128, False)


def test_colours_do_not_depend_on_who_decodes(tmp_path, config):
    """Full and limited range, all codecs; who decodes VP9, H.264 and AV1 depends on the device."""
    picture = np.full((*SIZE, 3), (200, 60, 30), np.uint8)
    kinds = [("vp9", ".webm", ""), ("h264", ".mp4", ""), ("h264", ".mp4", "yuvj420p")]
    kinds += [("mjpeg", ".mov", ""), ("hevc", ".mp4", "yuv420p10le"), ("av1", ".mp4", "")]
    rows = [
        (encode(tmp_path / f"{n}{suffix}", codec, [picture] * 5, pixels=pixels), 0)
        for n, (codec, suffix, pixels) in enumerate(kinds)
    ]
    config.data.validation_list = str(write_list(tmp_path / "list.txt", rows))
    for batch in create_loader(config, "validation"):
        difference = batch.clips.cpu().int() - torch.tensor([200, 60, 30])
        assert difference.abs().max() <= 6


def test_numbers_survive_the_encoders():
    """The corpus tests nothing where its pictures cannot be told apart."""
    assert set(OPTIONS) == {"vp8", "vp9", "h264", "hevc", "av1", "mpeg4", "mjpeg"}
    for number in range(256):
        assert read_number(numbered_frame(number, *SIZE)) == number
