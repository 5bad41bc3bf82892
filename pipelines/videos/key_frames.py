"""Where decoding of a video can begin: its packets themselves tell, the container may be wrong."""

from __future__ import annotations

import av
from av.video.stream import VideoStream

_IDR, _NON_IDR = 5, 1
"""Types of H.264's units: a picture after which nothing looks back past it, and any other."""


def begins_group(packet: av.Packet, stream: VideoStream) -> bool:
    """Whether decoding can begin with a packet, and nothing later looks back past it.

    All frames of such a group are shown before those of the next. The packet itself is looked at: a
    container's key frames need not be of this kind (H.264 with open groups), or may be wrong.
    """
    data, name = memoryview(packet), stream.codec_context.codec.canonical_name
    if name == "h264":
        return _idr(data, stream.codec_context.extradata or b"")
    if name == "vp9":
        profile_3 = data[0] & 0x30 == 0x30
        return bool(data[0] & 0xC0 == 0x80 and not data[0] & (0x06 if profile_3 else 0x0C))
    if name == "vp8":
        return not data[0] & 1
    return name == "mjpeg"


def _idr(data: memoryview, extradata: bytes) -> bool:
    """Whether an H.264 packet is an IDR picture, in MP4's and Matroska's way of storing it."""
    if len(extradata) < 5 or extradata[0] != 1:  # parameters may be in other packets
        return False
    prefix, at = (extradata[4] & 3) + 1, 0
    while at + prefix < len(data):
        kind = data[at + prefix] & 31
        if kind in (_IDR, _NON_IDR):
            return kind == _IDR
        at += prefix + int.from_bytes(data[at : at + prefix], "big")
    return False
