"""What one clip holds: its frame count, size and codec, or why it cannot be used.

A clip is a video file, a folder of frames, or one of these inside a tar shard. Counts of video are
exact where containers lie: the non-empty packets of the video stream are counted, never the
header's number, and the first frame is decoded. Frames past the packets must never be asked for:
decoders then return black or uninitialised pictures without an error.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import NamedTuple

import av
import av.logging
from PIL import Image, UnidentifiedImageError

from tdn.pipelines.frame_folders import PICTURE_CODECS, FolderError, find_series, frame_path
from tdn.pipelines.shard_reading import read_part


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
    """FFmpeg's name: "vp9", "h264", ...; of frames that are pictures "jpeg", "png", ..."""
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
    problem: str = ""
    """Empty for a usable file; else why it is not, in a few words."""


def probe(request: Request) -> Probe:
    """Check one clip and count its frames; never raises for what a file may hold.

    Reads a video once and decodes one frame: some milliseconds for a short clip. Of pictures, the
    first is decoded.
    """
    try:
        status = Path(request.path).stat()
    except OSError as error:
        return Probe(problem=_words(error))
    known = Probe(size=status.st_size, mtime=status.st_mtime_ns)
    if request.offsets:
        return _probe_part(request, known)
    if stat.S_ISDIR(status.st_mode):
        return _probe_folder(request, known._replace(size=0))
    return _probe_file(request.path, known, status.st_mode)


def probe_video(path: str | Path) -> Probe:
    """Check one video file; as ``probe``."""
    return probe(Request(str(path)))


def _probe_file(path: str, known: Probe, mode: int) -> Probe:
    if not stat.S_ISREG(mode):
        return known._replace(problem="is not a regular file")
    if known.size == 0:
        return known._replace(problem="is empty (0 bytes)")
    return _probed(path, known)


def _probe_part(request: Request, known: Probe) -> Probe:
    end = max(o + s for o, s in zip(request.offsets, request.sizes, strict=True))
    if end > known.size:
        return known._replace(size=0, problem="is cut off at the end of the shard")
    if not all(request.sizes):
        return known._replace(size=0, problem="is empty (0 bytes)")
    try:
        first = read_part(request.path, request.offsets[0], request.sizes[0])
    except OSError as error:
        return known._replace(mtime=0, problem=f"cannot be read: {_words(error)}")
    if request.pictures:
        return _probe_picture(io.BytesIO(first), known._replace(size=0), len(request.offsets))
    return _probed(io.BytesIO(first), known._replace(size=request.sizes[0]))


def _probe_folder(request: Request, known: Probe) -> Probe:
    try:
        series = find_series(os.listdir(request.path), request.template)  # noqa: PTH208 - names
    except FolderError as error:
        return known._replace(problem=str(error))
    except OSError as error:
        return known._replace(mtime=0, problem=f"cannot be read: {_words(error)}")
    known = known._replace(template=series.template, first=series.first)
    first = frame_path(request.path, series.template, series.first, 0)
    return _probe_picture(first, known, series.frames)


_PICTURE_CODECS = {"MPO": "jpeg"} | {name.upper(): name for name in PICTURE_CODECS}
"""By Pillow's names; an MPO file is a JPEG with more pictures behind the first."""


def _probe_picture(file: str | io.BytesIO, known: Probe, frames: int) -> Probe:
    """What the first picture shows of a clip of so many."""
    try:
        with Image.open(file) as picture:
            picture.load()
            codec = _PICTURE_CODECS.get(str(picture.format))
            if codec is None:
                return known._replace(problem=f"{picture.format} pictures are no frames")
            return known._replace(
                frames=frames,
                width=picture.width,
                height=picture.height,
                codec=codec,
                pixel_format=picture.mode.lower(),
            )
    except UnidentifiedImageError:
        return known._replace(problem="its first picture is none")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return known._replace(problem=f"its first picture cannot be decoded: {_words(error)}")


def _probed(file: str | io.BytesIO, known: Probe) -> Probe:
    # FFmpeg's own messages have no file names; what matters of them is in the exception.
    av.logging.set_level(None)
    try:
        return _probe_stream(file, known)
    except PermissionError as error:
        passing = error.errno != errno.EPERM  # that one is FFmpeg's, for damaged data
        known = known._replace(mtime=0 if passing else known.mtime)
        return known._replace(problem=f"cannot be read: {_words(error)}")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return known._replace(problem=f"cannot be decoded: {_words(error)}")


def _probe_stream(file: str | io.BytesIO, known: Probe) -> Probe:
    # Titles in another encoding than UTF-8 must not cost the video.
    with av.open(file, "r", metadata_errors="ignore") as container:
        if not container.streams.video:
            return known._replace(problem="has no video stream")
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None:
            return known._replace(problem="has a video stream of an unknown codec")
        if codec.name == "ansi":  # FFmpeg renders any text file as a video
            return known._replace(problem="is a text file, not a video")
        codec.thread_count = 1
        first, frames = None, 0
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.is_corrupt:
                break  # the rest of a truncated file
            frames += not packet.is_discard
            if first is None:
                first = next(iter(packet.decode()), None)
        if first is None:
            container.seek(0)
            first = next(container.decode(stream), None)
        if first is None or frames == 0:
            return known._replace(problem="has no decodable frame")
        return known._replace(
            frames=frames,
            width=first.width,
            height=first.height,
            rotation=round(first.rotation / 90) * 90 % 360,
            codec=codec.codec.canonical_name,
            pixel_format=first.format.name,
        )


def _words(error: BaseException) -> str:
    if getattr(error, "errno", None) == errno.EPERM:  # FFmpeg's code for a decoder's failure
        return "its data is damaged"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).lower()
