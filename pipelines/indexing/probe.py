"""What one clip holds: its frame count, size and codec, or why it cannot be used.

A clip is a video file, a folder of frames, or one of these inside a tar shard. Counts of video are
exact where containers lie (``videos.survey``): frames past the end must never be asked for, because
decoders then return black or uninitialised pictures without an error.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image, UnidentifiedImageError

from tdn.pipelines.files.frame_folders import PICTURE_CODECS, FolderError, find_series, frame_path
from tdn.pipelines.files.shard_reading import read_part
from tdn.pipelines.files.storage import checksum, patiently
from tdn.pipelines.videos.reading import DecodingError, cause_of
from tdn.pipelines.videos.survey import survey_video

_T = TypeVar("_T")


class Request(NamedTuple):
    """What to probe."""

    path: str
    """A video file, a folder of frames, or a tar shard."""
    offsets: tuple[int, ...] = ()
    """In a tar shard: where the clip's files start."""
    sizes: tuple[int, ...] = ()
    """And their bytes."""
    pictures: bool = False
    """In a tar shard: whether the files are pictures, a frame each."""
    template: str = ""
    """For folders: format of the pictures' names; empty to find it out."""
    thorough: bool = False
    """Whether to decode every frame, rather than the first and some others."""
    problem: str = ""
    """Why it cannot be used, if that is known already."""


class Probe(NamedTuple):
    """What one clip holds. Where ``problem`` is not empty, the other video fields are 0 or ""."""

    frames: int = 0
    width: int = 0
    """Pixels, as coded: before rotation."""
    height: int = 0
    rotation: int = 0
    """Degrees, counter-clockwise, that turn the coded picture upright: 0, 90, 180 or 270; a slant
    is rounded to the nearest of them."""
    codec: str = ""
    """FFmpeg's name: "vp9", "h264", ..., "png video"; of frames that are pictures "jpeg", "png"."""
    pixel_format: str = ""
    """FFmpeg's name: "yuv420p", ...; of pictures Pillow's: "rgb", "l", ..."""
    template: str = ""
    """Of a folder: format of the pictures' names."""
    first: int = 0
    """Of a folder: number of the first picture."""
    size: int = 0
    """Bytes of a video; 0 for pictures."""
    mtime: int = 0
    """Time of the last change, nanoseconds since 1970; 0 where the problem may pass."""
    plain: bool = False
    """Of a video: whether DALI may decode it (``videos.survey.Video``)."""
    gop: int = 0
    """Of such a video: frames in the longest group that can be decoded by itself."""
    decoded: bool = False
    """Whether every frame has been decoded."""
    checksum: int = 0
    """Of a video: CRC-32 of its bytes."""
    problem: str = ""
    """Empty for a usable file; else why it is not, in a few words."""


def probe(request: Request) -> Probe:
    """Check one clip and count its frames; never raises for what a file may hold.

    Reads a video twice and decodes a frame for every second: some milliseconds for a short clip. Of
    pictures, the first is decoded.
    """
    try:
        status = _read(Path(request.path).stat)
        known = Probe(size=status.st_size, mtime=status.st_mtime_ns)
        if request.offsets:
            return _probe_part(request, known)
        if stat.S_ISDIR(status.st_mode):
            return _probe_folder(request, known._replace(size=0))
        return _probe_file(request, known, status.st_mode)
    except _StorageError as error:
        return Probe(problem=f"cannot be read: {error}")


def probe_video(path: str | Path, *, thorough: bool = False) -> Probe:
    """Check one video file; as ``probe``."""
    return probe(Request(str(path), thorough=thorough))


class _StorageError(Exception):
    """A file cannot be read, which may pass."""


def _read(action: Callable[[], _T]) -> _T:
    try:
        return patiently(action)
    except OSError as error:
        raise _StorageError(cause_of(error)) from None


def _probe_file(request: Request, known: Probe, mode: int) -> Probe:
    if not stat.S_ISREG(mode):
        return known._replace(problem="is not a regular file")
    if known.size == 0:
        return known._replace(problem="is empty (0 bytes)")
    known = known._replace(checksum=_read(lambda: checksum(request.path)))
    return _probe_video(lambda: request.path, request, known)


def _probe_part(request: Request, known: Probe) -> Probe:
    if request.problem:
        return known._replace(size=0, problem=request.problem)
    end = max(o + s for o, s in zip(request.offsets, request.sizes, strict=True))
    if end > known.size:
        return known._replace(size=0, problem="is cut off at the end of the shard")
    if not all(request.sizes):
        return known._replace(size=0, problem="is empty (0 bytes)")
    parts = (
        _read(partial(read_part, request.path, offset, size))
        for offset, size in zip(request.offsets, request.sizes, strict=True)
    )
    if request.pictures:
        files = (io.BytesIO(part) for part in parts)
        return _probe_pictures(files, request, known._replace(size=0), len(request.sizes))
    part = next(parts)
    known = known._replace(size=len(part), checksum=zlib.crc32(part))
    return _probe_video(lambda: io.BytesIO(part), request, known)


def _probe_video(file: Callable[[], str | io.BytesIO], request: Request, known: Probe) -> Probe:
    try:
        video = _read(lambda: survey_video(file(), request.thorough))
    except DecodingError as error:
        return known._replace(problem=str(error))
    return known._replace(
        frames=video.frames,
        width=video.first.width,
        height=video.first.height,
        rotation=round(video.first.rotation / 90) * 90 % 360,
        # Told apart from pictures, which are decoded otherwise.
        codec=f"{video.codec} video" if video.codec in PICTURE_CODECS else video.codec,
        pixel_format=video.first.format.name,
        plain=video.plain,
        gop=video.gop,
        decoded=video.decoded,
    )


def _probe_folder(request: Request, known: Probe) -> Probe:
    names = _read(lambda: os.listdir(request.path))  # noqa: PTH208 - names are enough
    try:
        series = find_series(names, request.template)
    except FolderError as error:
        return known._replace(problem=str(error))
    known = known._replace(template=series.template, first=series.first)
    files = (
        frame_path(request.path, series.template, series.first, number)
        for number in range(series.frames)
    )
    return _probe_pictures(files, request, known, series.frames)


_PICTURE_CODECS = {"MPO": "jpeg"} | {name.upper(): name for name in PICTURE_CODECS}
"""By Pillow's names; an MPO file is a JPEG with more pictures behind the first."""


def _probe_pictures(
    files: Iterable[str | io.BytesIO], request: Request, known: Probe, count: int
) -> Probe:
    """What the first picture shows of a clip of so many, and whether the others are alike."""
    found = known
    for number, file in enumerate(files):
        try:
            width, height, codec, mode = _read_picture(file)
        except UnidentifiedImageError:
            return known._replace(problem=f"frame {number} is not a picture")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return known._replace(problem=f"frame {number} cannot be decoded: {cause_of(error)}")
        if codec not in _PICTURE_CODECS:
            return known._replace(problem=f"{codec} pictures are no frames")
        if number == 0:
            found = known._replace(
                frames=count,
                width=width,
                height=height,
                codec=_PICTURE_CODECS[codec],
                pixel_format=mode.lower(),
            )
            if not request.thorough:
                return found
        elif (width, height) != (found.width, found.height):
            return known._replace(problem=f"frame {number} has another size than the first")
    return found._replace(decoded=True)


def _read_picture(file: str | io.BytesIO) -> tuple[int, int, str, str]:
    """Decodes a picture; its width, height, and Pillow's names of its format and mode."""
    with Image.open(file) as picture:
        picture.load()
        return picture.width, picture.height, str(picture.format), picture.mode
