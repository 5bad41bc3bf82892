from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdn.errors import UserError
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.transcoding.settings import CopySettings, copy_size
from tdn.pipelines.videos import encoding as video_encoding


def clip(height, width, rotation=0):
    return Clip(
        row=0,
        path="a",
        label=0,
        frames=1,
        width=width,
        height=height,
        rotation=rotation,
        codec="vp9",
        pixel_format="yuv420p",
        size=1,
    )


@pytest.mark.parametrize(
    ("size", "rotation", "short_side", "expected"),
    [
        ((1080, 1920), 0, 256, (256, 456)),
        ((1080, 1920), 90, 256, (456, 256)),
        ((240, 320), 0, 256, (240, 320)),
        ((240, 320), 180, 128, (128, 170)),
        ((75, 101), 0, 256, (74, 100)),
        ((101, 75), 270, 256, (74, 100)),
        ((720, 1280), 0, 240, (240, 426)),
        ((1, 3), 0, 256, (2, 2)),
    ],
)
def test_sizes(size, rotation, short_side, expected):
    assert copy_size(clip(*size, rotation), short_side) == expected


@given(st.integers(2, 4000), st.integers(2, 4000), st.integers(8, 300))
def test_copies_are_even_and_never_larger_and_keep_their_shape(height, width, half):
    result = copy_size(clip(height, width), 2 * half)
    for length, original in zip(result, (height, width), strict=True):
        assert length % 2 == 0
        assert 2 <= length <= original
    assert min(result) == min(2 * half, min(height, width) // 2 * 2)
    scale = min(1, 2 * half / min(height, width))
    assert max(abs(result[0] - scale * height), abs(result[1] - scale * width)) < 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"format": "divx"}, "--format"),
        ({"short_side": 255}, "--short-side"),
        ({"short_side": 8}, "--short-side"),
        ({"gop": 0}, "--gop"),
        ({"format": "mjpeg", "gop": 4}, "--gop"),
        ({"format": "jpeg", "gop": 4}, "--gop"),
    ],
)
def test_what_cannot_be_is_refused(values, named):
    with pytest.raises(UserError, match=named):
        CopySettings(**values).check()


def test_a_missing_encoder_is_named(monkeypatch):
    monkeypatch.setattr(video_encoding.av, "codecs_available", {"mjpeg"})
    with pytest.raises(UserError, match="libx264"):
        CopySettings("h264").check()
    CopySettings("mjpeg", gop=1).check()
    CopySettings("jpeg", gop=1).check()
