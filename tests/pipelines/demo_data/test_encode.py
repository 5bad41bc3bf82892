"""Encoded clips: every codec's files hold the frames that went in, and say nothing else."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from tdn.errors import UserError
from tdn.pipelines.demo_data.classes import motion_classes
from tdn.pipelines.demo_data.encode import CODECS, FRAMES_PER_SECOND, encode_video, find_codec
from tdn.pipelines.demo_data.render import render_clip
from tdn.pipelines.videos import encoding as video_encoding

CLASSES = motion_classes(12)


def decode(video: bytes, pixels: str = "rgb24") -> np.ndarray:
    with av.open(io.BytesIO(video)) as container:
        container.streams.video[0].thread_count = 1
        return np.stack([frame.to_ndarray(format=pixels) for frame in container.decode(video=0)])


@pytest.mark.parametrize("codec", CODECS)
def test_decoding_gives_back_the_frames(codec):
    frames = render_clip(0, "train", 1, CLASSES[4])
    video = encode_video(frames, find_codec(codec))
    decoded = decode(video)
    assert decoded.shape == frames.shape
    errors = ((decoded.astype(float) - frames) ** 2).mean((1, 2, 3))
    assert 10 * np.log10(255**2 / errors.max()) > 24  # decibels, the worst frame
    with av.open(io.BytesIO(video)) as container:
        assert container.streams.video[0].average_rate == FRAMES_PER_SECOND
        assert len(container.streams) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_equal_frames_give_equal_bytes(codec):
    frames = render_clip(0, "train", 0, CLASSES[0])[:10]
    assert encode_video(frames, CODECS[codec]) == encode_video(frames.copy(), CODECS[codec])


def test_unknown_and_missing_encoders_are_user_errors(monkeypatch):
    with pytest.raises(UserError, match="vp9, h264, mjpeg"):
        find_codec("divx")
    monkeypatch.setattr(video_encoding.av, "codecs_available", {"mjpeg"})
    with pytest.raises(UserError, match="libx264"):
        find_codec("h264")
    assert find_codec("mjpeg").encoder == "mjpeg"


def frame_features(frames: np.ndarray) -> np.ndarray:
    """What grey frames (F, 132, 176) look like and how sharp they are where: (F, 96) numbers."""
    grey = frames.astype(np.float32)
    detail = np.abs(np.diff(grey, axis=1))[:, :, 1:] + np.abs(np.diff(grey, axis=2))[:, 1:]
    detail = np.pad(detail, ((0, 0), (1, 0), (1, 0)))
    grids = [each.reshape(len(frames), 6, 22, 8, 22).mean((2, 4)) for each in (grey, detail)]
    return np.concatenate(grids, axis=1).reshape(len(frames), -1)


def accuracy_of_single_frames(members: list[list[np.ndarray]]) -> float:
    """How many held-out clips a linear classifier of single frames tells apart.

    ``members[m][i]``: features of the frames of scene i as member m of its pair shows it. Ridge
    regression on the frames of the first half of the scenes; a clip of the other half is judged by
    its frames' mean score.
    """
    half = len(members[0]) // 2
    train = [np.concatenate(clips[:half]) for clips in members]
    features = np.concatenate(train)
    target = np.concatenate([np.full(len(train[0]), -1.0), np.full(len(train[1]), 1.0)])
    mean, spread = features.mean(0), features.std(0)
    z = (features - mean) / spread
    weights = np.linalg.solve(z.T @ z + 0.01 * len(z) * np.eye(z.shape[1]), z.T @ target)
    right = [
        (((clip - mean) / spread @ weights).mean() > 0) == bool(member)
        for member, clips in enumerate(members)
        for clip in clips[half:]
    ]
    return float(np.mean(right))


def test_no_single_frame_tells_the_members_of_a_pair_apart():
    """The codec runs forwards in time and could betray the direction; it must not.

    Without a leak each of the 72 held-out clips is right with probability 1/2, so the share of
    right ones exceeds 0.5 + 4 * 0.5 / sqrt(72) = 0.74 with probability 3e-5. That the classifier
    would see a leak is shown with one: a little more light in one member of each pair.
    """
    scenes_per_pair, pairs = 12, CLASSES[::2]
    clean, betrayed = [], []
    for pair in pairs:
        members: list[list[np.ndarray]] = [[], []]
        for index in range(scenes_per_pair):
            frames = render_clip(11, "train", index, pair)
            for member, order in enumerate((1, -1)):
                video = encode_video(frames[::order], CODECS["vp9"])
                # Every third frame: among them both key frames, 0 and 24.
                members[member].append(frame_features(decode(video, "gray")[::3]))
        clean.append(accuracy_of_single_frames(members))
        lit = [np.where(np.arange(96) < 48, 1.8, 1) * clip for clip in members[1]]
        betrayed.append(accuracy_of_single_frames([members[0], lit]))
    held_out = len(pairs) * scenes_per_pair  # two members of half of the scenes
    bound = 0.5 + 4 * 0.5 / np.sqrt(held_out)
    assert np.mean(clean) < bound
    assert np.mean(betrayed) > bound
