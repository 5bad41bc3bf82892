"""Frames to what a copy is: a video file, a folder of frames, or the part of a tar shard."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.pipelines.indexing.probe import probe_video
from tdn.pipelines.transcoding.encoding import JPEG_QUALITY, copy_codec
from tdn.pipelines.videos.encoding import encode_video
from tdn.pipelines.videos.reading import DecodingError

Frames = Iterable[npt.NDArray[np.uint8]]
"""(H, W, 3) uint8 RGB, all of one size, with even H and W."""

FRAME_TEMPLATE = "{:05d}.jpg"
"""Names of pictures, counted from 1: the released code's for Something-Something V1."""
_BLOCK = 512
"""Bytes; headers and contents of a tar file start at multiples."""
END_OF_TAR = bytes(2 * _BLOCK)


def video_file(frames: Frames, path: Path, format: str, gop: int, rate: Fraction) -> int:
    """Write a video; returns the number of frames."""
    count = encode_video(str(path), frames, copy_codec(format, gop), rate)
    # Encoders may leave out frames when they find them too costly or too alike.
    if count and probe_video(path).frames != count:
        raise DecodingError(f"its copy does not have {count} frames")
    return count


def frame_folder(frames: Frames, folder: Path) -> int:
    """Write a folder of JPEG files; returns the number of frames."""
    folder.mkdir()
    count = 0
    for count, content in enumerate(_jpegs(frames), start=1):
        (folder / FRAME_TEMPLATE.format(count)).write_bytes(content)
    return count


def tar_part(frames: Frames, path: Path, key: str, format: str, gop: int, rate: Fraction) -> int:
    """Write a clip's members of a tar shard, without its end; returns the number of frames.

    They are ``KEY.webm`` (or another video), or ``KEY/00001.jpg`` and so on.
    """
    count = 0
    with path.open("wb") as part:
        if format == "jpeg":
            for count, content in enumerate(_jpegs(frames), start=1):
                add_member(part, f"{key}/{FRAME_TEMPLATE.format(count)}", content)
            return count
        video = path.with_name(f"{path.name}.video")
        try:
            count = video_file(frames, video, format, gop, rate)
            with video.open("rb") as content_file:
                _add_file(part, f"{key}{copy_codec(format, gop).suffix}", content_file)
        finally:
            video.unlink(missing_ok=True)
    return count


def add_member(tar: IO[bytes], name: str, content: bytes) -> None:
    """Write a file of a tar archive; equal contents give equal bytes."""
    with io.BytesIO(content) as file:
        _add_file(tar, name, file)


def _add_file(tar: IO[bytes], name: str, file: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size = file.seek(0, io.SEEK_END)
    file.seek(0)
    tar.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8"))
    shutil.copyfileobj(file, tar)
    tar.write(bytes(-info.size % _BLOCK))


def _jpegs(frames: Frames) -> Iterator[bytes]:
    for frame in frames:
        content = io.BytesIO()
        Image.fromarray(frame).save(content, "JPEG", quality=JPEG_QUALITY)
        yield content.getvalue()
