"""What a video's packets tell without decoding them all: how many frames, and whether that is sure.

Containers lie, so packets are counted and their headers are looked at. Where a packet may be
something else than a frame, only decoding tells, and it also tells where damage is.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import av
import numpy as np

from tdn.pipelines.files.subprocess_workers import still_working
from tdn.pipelines.videos.key_frames import begins_group
from tdn.pipelines.videos.reading import DecodingError, OpenVideo, decoded_frames, open_video
from tdn.pipelines.videos.vpx_headers import HeaderError, Vp8Headers, Vp9Headers

# Containers with a table of packets; elsewhere packets are guessed from the data.
_TABLES = frozenset({"matroska", "webm", "mov", "mp4", "avi"})
# Those of them with times, and in which DALI survives damage (of an AVI file it may crash).
_SAFE = frozenset({"matroska", "webm", "mov", "mp4"})
_HEADERS: dict[str, type[Vp8Headers] | type[Vp9Headers]] = {"vp8": Vp8Headers, "vp9": Vp9Headers}
_NO_TIME = -(1 << 63)
_KEY_EVERY = 1.0
"""Seconds between the key frames that are decoded to see whether the size changes."""
_NOT_CODED = 20
"""Bytes below which an MPEG-4 packet may stand for a frame that was left out."""


class Video(NamedTuple):
    """What a file holds."""

    frames: int
    first: av.VideoFrame
    codec: str
    """FFmpeg's name."""
    plain: bool
    """Whether packets are frames one to one, all of the size that the container says, with distinct
    times: what DALI takes for granted."""
    gop: int
    """Frames in the longest group that can be decoded by itself (``excerpts``); 0 if not plain."""
    decoded: bool
    """Whether every frame has been decoded."""


def survey_video(file: str | io.BytesIO, thorough: bool) -> Video:
    """Count a video's frames.

    Args:
        file: Its path, or its bytes.
        thorough: Whether to decode every frame, rather than only where the packets are odd.

    Raises:
        DecodingError: It has no frames, is damaged, or changes its size.
        OSError: The storage fails.
    """
    with open_video(file, as_declared=True) as opened:
        survey = _Survey(opened)
        for packet in opened.container.demux(opened.stream):
            if survey.odd:
                break
            if packet.size:
                survey.look(packet)
            still_working()
        video = survey.result()
    return video if video is not None and not thorough else _decoded(file, video)


def _decoded(file: str | io.BytesIO, survey: Video | None) -> Video:
    """As ``survey_video``, by decoding every frame; ``survey``: what the packets told, if sure."""
    if isinstance(file, io.BytesIO):
        file.seek(0)
    plain = survey is not None and survey.plain
    first, count = None, 0
    with open_video(file) as opened:
        for frame in decoded_frames(opened, plain=plain):
            first = first or frame
            if (frame.width, frame.height) != (first.width, first.height):
                raise DecodingError(
                    f"changes its size from {first.width} x {first.height} to {frame.width} x "
                    f"{frame.height} at frame {count}"
                )
            count += 1
            still_working()
        if first is None:
            raise DecodingError("has no decodable frame")
        name = opened.stream.codec_context.codec.canonical_name
    if survey is None or not plain:
        return Video(count, first, name, plain=False, gop=0, decoded=True)
    if count != survey.frames:
        raise DecodingError(f"frame {count} is missing")
    return survey._replace(first=first, decoded=True)


class _Survey:
    """Looks at the packets of a stream, one after the other."""

    def __init__(self, video: OpenVideo) -> None:
        self._stream, self._codec = video.stream, video.stream.codec_context
        self._name = self._codec.codec.canonical_name
        self._size = self._codec.width, self._codec.height
        formats = set(video.container.format.name.split(","))
        self._safe = bool(formats & _SAFE)
        self._headers = _HEADERS[self._name]() if self._name in _HEADERS else None
        self._times: list[int] = []
        self._groups = [0]
        self._first: av.VideoFrame | None = None
        self._next_key = float("-inf")
        # Of several streams, which one is meant is said by open_video.
        several = len(video.container.streams.video) > 1
        self.odd = not formats & _TABLES or several or video.cut_off
        """Whether packets may not be the video's frames one to one."""

    def look(self, packet: av.Packet) -> None:
        """Take the next packet into account."""
        self._times.append(_NO_TIME if packet.pts is None else packet.pts)
        self.odd = self._is_odd(packet)
        if self.odd:
            return
        if len(self._times) > 1 and begins_group(packet, self._stream):
            self._groups.append(len(self._times) - 1)
        if self._first is None:
            self._first = next(iter(packet.decode()), None)
        elif self._headers is None and packet.is_keyframe:
            self._look_at_key(packet)

    def result(self) -> Video | None:
        """After the last packet, what was found; None where everything is to be decoded."""
        if len(self._times) < self._stream.frames:
            self.odd = True  # cut off, or cut by an edit list
        if self.odd:
            return None
        first = self._first or next(iter(self._codec.decode(None)), None)
        if first is None:
            return None
        same_size = (first.width, first.height) == self._size
        distinct = len(set(self._times)) == len(self._times)
        plain = self._safe and same_size and distinct
        gop = max(np.diff([*self._groups, len(self._times)])) if plain else 0
        return Video(len(self._times), first, self._name, plain, int(gop), decoded=False)

    def _is_odd(self, packet: av.Packet) -> bool:
        unsure = packet.is_corrupt or packet.is_discard
        headless = len(self._times) == 1 and not packet.is_keyframe
        early = self._times[-1] < self._times[0]  # shown before the key frame that it comes after
        return unsure or headless or early or self._odd_header(packet)

    def _odd_header(self, packet: av.Packet) -> bool:
        if self._name == "mpeg4":
            return packet.size < _NOT_CODED
        if self._headers is None:
            return False
        try:
            return self._headers.shown(memoryview(packet)) != [self._size]
        except HeaderError:
            return True

    def _look_at_key(self, packet: av.Packet) -> None:
        time = float((packet.pts or 0) * packet.time_base)
        if time < self._next_key:
            return
        self._next_key = time + _KEY_EVERY
        try:
            self._codec.flush_buffers()
            frames = [*packet.decode(), *self._codec.decode(None)]
        except av.error.FFmpegError:
            self.odd = True
        else:
            self.odd = any((frame.width, frame.height) != self._size for frame in frames)
