"""What is in one video file: its frame count, size and codec, or why it cannot be used.

Counts are exact where containers lie: the non-empty packets of the video stream are counted, never
the header's number, and the first frame is decoded. Frames past the packets must never be asked
for: decoders then return black or uninitialised pictures without an error.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import NamedTuple

import av
import av.logging


class Probe(NamedTuple):
    """What one file holds. Where ``problem`` is not empty, the other video fields are 0 or ""."""

    frames: int = 0
    width: int = 0
    """Pixels, as coded: before rotation."""
    height: int = 0
    rotation: int = 0
    """Degrees, counter-clockwise, that turn the coded picture upright: 0, 90, 180 or 270; a slant
    is rounded to the nearest of them."""
    codec: str = ""
    """FFmpeg's name: "vp9", "h264", ..."""
    pixel_format: str = ""
    """FFmpeg's name: "yuv420p", ..."""
    size: int = 0
    """Bytes."""
    mtime: int = 0
    """Time of the last change, nanoseconds since 1970; 0 where the problem may pass."""
    problem: str = ""
    """Empty for a usable file; else why it is not, in a few words."""


def probe_video(path: str | Path) -> Probe:
    """Check one file and count its frames; never raises for what a file may hold.

    Reads the whole file once and decodes one frame: some milliseconds for a short clip.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        return Probe(problem=_words(error))
    known = Probe(size=status.st_size, mtime=status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return known._replace(problem="is a folder, not a video file")
    if not stat.S_ISREG(status.st_mode):
        return known._replace(problem="is not a regular file")
    if status.st_size == 0:
        return known._replace(problem="is empty (0 bytes)")
    # FFmpeg's own messages have no file names; what matters of them is in the exception.
    av.logging.set_level(None)
    try:
        return _probe_stream(str(path), known)
    except PermissionError as error:
        passing = error.errno != errno.EPERM  # that one is FFmpeg's, for damaged data
        known = known._replace(mtime=0 if passing else known.mtime)
        return known._replace(problem=f"cannot be read: {_words(error)}")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return known._replace(problem=f"cannot be decoded: {_words(error)}")


def _probe_stream(path: str, known: Probe) -> Probe:
    # Titles in another encoding than UTF-8 must not cost the video.
    with av.open(path, metadata_errors="ignore") as container:
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
