"""Reading a video by PyAV: which picture is frame n, and that damage is an error.

Frame n is the n-th picture that decoding gives from the first key frame on, in the order in which
pictures are shown. What the container says not to show (an edit list) does not count, nor does what
follows a gap where a file was cut off.

FFmpeg by default conceals damage: it repeats pictures, invents parts of them, or leaves some out
so that all later ones have the wrong number. Here whatever it notices is an error.
"""

from __future__ import annotations

import errno
import heapq
import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import av
import av.logging
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from tdn.pipelines.videos.container_sizes import is_cut_off


class DecodingError(Exception):
    """A file gives not the frames it should; says why in a few words."""


class OpenVideo(NamedTuple):
    """A video that is being read."""

    container: InputContainer
    stream: VideoStream
    cut_off: bool
    """Whether the file is shorter than the container says."""


@contextmanager
def open_video(file: str | io.BytesIO, *, as_declared: bool = False) -> Iterator[OpenVideo]:
    """Open a video for decoding in this thread.

    Args:
        file: Its path, or its bytes.
        as_declared: Whether to believe what the container says of the stream, its size for one.
            Otherwise the first frames are decoded to find out, which takes most of the time.

    Returns:
        A context of the container and of its video stream. Where there are several, it is the one
        that FFmpeg and DALI choose.

    Raises:
        DecodingError: It is no video, or what is done inside the context shows that it is damaged.
        OSError: The storage fails. FFmpeg would take that for the end of the file.
    """
    # FFmpeg's own messages have no file names; what matters of them is in the exception.
    av.logging.set_level(None)
    options = {"codec_whitelist": "none"} if as_declared else {}
    with _File(file) if isinstance(file, str) else nullcontext(file) as source:
        cut_off = is_cut_off(source)
        try:
            # Titles in another encoding than UTF-8 must not cost the video.
            with av.open(source, "r", options=options, metadata_errors="ignore") as container:
                yield OpenVideo(container, _video_stream(container), cut_off)
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            _check(source)
            raise DecodingError(cause_of(error)) from None
        _check(source)


class _File(io.FileIO):
    """A file that keeps the error of a read, which FFmpeg cannot pass on."""

    error: OSError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size) or b""
        except OSError as error:
            self.error = error
            return b""


def _check(source: io.IOBase) -> None:
    if isinstance(source, _File) and source.error is not None:
        raise source.error


def _video_stream(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise DecodingError("has no video stream")
    codec = stream.codec_context
    if codec is None:
        raise DecodingError("has a video stream of an unknown codec")
    if codec.name == "ansi":  # FFmpeg renders any text file as a video
        raise DecodingError("is a text file, not a video")
    codec.thread_count = 1  # clips are decoded side by side instead
    codec.options = {"err_detect": "explode"}
    return stream


def decoded_frames(video: OpenVideo, *, plain: bool = False) -> Iterator[av.VideoFrame]:
    """The frames of a video in order.

    Args:
        video: Just opened.
        plain: Whether every packet is a frame (``videos.survey.Video``): a decoder that leaves one
            out without a word is then noticed, by the times.

    Raises:
        DecodingError: The next frame cannot be decoded.
    """
    number, due = 0, list[int]()
    try:
        for frame in _frames(video, due):
            if frame.is_corrupt:
                raise DecodingError(f"frame {number} is damaged")
            if plain and (not due or frame.pts != heapq.heappop(due)):
                raise DecodingError(f"frame {number} is missing")
            yield frame
            number += 1
    except (av.error.FFmpegError, ValueError) as error:
        raise DecodingError(f"frame {number} cannot be decoded: {cause_of(error)}") from None


def _frames(video: OpenVideo, due: list[int]) -> Iterator[av.VideoFrame]:
    """Frames as they come; ``due`` becomes a heap of the times of the packets that went in."""
    packets = _from_first_key(video.container.demux(video.stream))
    following, last = next(packets, None), None
    while (packet := following) is not None and not packet.is_corrupt:
        following = next(packets, None)
        heapq.heappush(due, packet.pts or 0)
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            if following is not None:
                raise
            break  # not all containers know that their last packet is incomplete
        last = packet.dts
    cut_off = video.cut_off or packet is not None
    for frame in video.stream.codec_context.decode(None):
        # What was cut off came later in the file than `last`, so it was to be shown later too.
        if not cut_off or frame.pts is None or last is None or frame.pts <= last:
            yield frame


def _from_first_key(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """The packets that can be decoded: none that lead up to the first key frame."""
    key = None
    for packet in packets:
        if packet.size == 0 or (key is None and not packet.is_keyframe):
            continue
        key = key or packet
        if packet.pts is None or key.pts is None or packet.pts >= key.pts:
            yield packet


def cause_of(error: BaseException) -> str:
    """What went wrong, in a few words and one line."""
    if isinstance(error, av.error.FFmpegError) and error.errno == errno.EPERM:
        return "its data is damaged"  # a decoder's failure without a code of its own
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).lower()
