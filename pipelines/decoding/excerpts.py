"""Excerpts of videos: of the groups of pictures in a file, those that hold wanted frames.

A decoder begins at a key frame. DALI's begins at the first one and decodes all frames up to the
last that is wanted, on the CPU and with NVDEC; PyAV would have to trust the container's index. So
the packets of the groups in question, and no others, are put into a small file of their own, as
they are. Nothing is decoded for that.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.key_frames import begins_group
from tdn.pipelines.videos.reading import DecodingError, open_video

_LEAST_SAVING = 12
"""Frames. An excerpt costs as much CPU time as decoding so many of 320 x 240 (VP9; 2 ms)."""
_TICK = Fraction(1, 1000)
"""Seconds; Matroska's clock. Frames of an excerpt are one tick apart: only their order matters."""
_DELAY = 16
"""Ticks between decoding and showing: H.264 decodes a frame at most so many others early."""


class Excerpt(NamedTuple):
    """Some groups of pictures of a video."""

    content: bytes
    """A Matroska file."""
    frames: npt.NDArray[np.int64]
    """The wanted frames' numbers in it."""


def pays(clip: Clip, wanted: npt.NDArray[np.int64]) -> bool:
    """Whether an excerpt saves more than it costs, going by the clip's longest group.

    Args:
        clip: The video.
        wanted: Numbers of the wanted frames, rising.
    """
    if not clip.gop:
        return False
    groups = wanted // clip.gop
    last = wanted[np.append(np.flatnonzero(np.diff(groups)), len(wanted) - 1)]
    kept = int((last % clip.gop + 1).sum())
    return int(wanted[-1]) + 1 - kept >= _LEAST_SAVING


def excerpt(file: str | io.BytesIO, wanted: npt.NDArray[np.int64]) -> Excerpt:
    """Cut out the groups of pictures that hold some frames.

    Args:
        file: A video whose packets are frames one to one (``Clip.plain``): its path, or its bytes.
        wanted: Numbers of the frames, rising.

    Raises:
        DecodingError: The file is damaged, or has fewer frames.
        OSError: The storage fails.
    """
    frames, kept, last = wanted.copy(), 0, -1
    content = io.BytesIO()
    with (
        open_video(file, as_declared=True) as (container, stream, _),
        av.open(content, "w", format="matroska") as target,
    ):
        output = target.add_stream_from_template(stream)
        for start, group in _groups(container.demux(stream), stream, int(wanted[-1])):
            inside = (wanted >= start) & (wanted < start + len(group))
            if not inside.any():
                continue
            frames[inside] += kept - start
            last = start + len(group) - 1
            # Where frames are decoded as they are shown, those behind the last one are not needed.
            needed = group[: wanted[inside][-1] - start + 1] if _in_order(group) else group
            for packet, (decoded, shown) in zip(needed, _times(needed, kept), strict=True):
                packet.stream, packet.time_base = output, _TICK
                packet.dts, packet.pts = decoded, shown
                target.mux(packet)
            kept += len(needed)
        if last < wanted[-1]:
            raise DecodingError(f"frame {wanted[-1]} is missing")
    return Excerpt(content.getvalue(), frames)


def _groups(
    packets: Iterator[av.Packet], stream: VideoStream, last: int
) -> Iterator[tuple[int, list[av.Packet]]]:
    """Groups of pictures up to a frame's: the number of the first frame, and the packets."""
    start, group = 0, list[av.Packet]()
    for packet in packets:
        if not packet.size:
            continue
        if packet.is_corrupt:
            break
        if group and begins_group(packet, stream):
            yield start, group
            start, group = start + len(group), []
            if start > last:
                return
        group.append(packet)
    yield start, group


def _in_order(group: list[av.Packet]) -> bool:
    """Whether frames are shown in the order in which they are decoded."""
    times = [packet.pts or 0 for packet in group]
    return times == sorted(times)


def _times(group: list[av.Packet], start: int) -> Iterator[tuple[int, int]]:
    """When each packet is to be decoded and shown, in ticks; the order of both is kept."""
    order = np.argsort([packet.pts or 0 for packet in group])
    for place, rank in enumerate(np.argsort(order).tolist()):
        yield start + place, start + rank + _DELAY
