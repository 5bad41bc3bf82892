"""Headers of JPEG files: DALI must not be given a file whose header it cannot read.

Its decoder reads the headers of a batch in threads, and where one of them fails the process may
crash instead of reporting an error. Damage behind the header is reported. (ITU T.81, annex B.)
"""

from __future__ import annotations

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame: SOF0 to SOF15, without DHT, JPG and DAC."""
_SCAN = 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a segment: TEM, RST0 to RST7, SOI, EOI."""


class HeaderError(ValueError):
    """The header is damaged; says how in a few words."""


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as stored.

    Raises:
        HeaderError: It is not a JPEG, or its header is damaged.
    """
    if data[:2] != b"\xff\xd8":
        raise HeaderError("is not a JPEG picture")
    at, size = 2, None
    while True:
        at, marker, length = _segment(data, at)
        if marker in _FRAMES:
            size = _frame_size(data[at : at + length])
        elif marker == _SCAN:
            break
        at += length
    if size is None:
        raise HeaderError("has a damaged header")
    return size


def _segment(data: bytes, at: int) -> tuple[int, int, int]:
    """Where a segment's data start, its marker, and the length of its data."""
    head = data[at : at + 4]
    if len(head) < 4:
        raise HeaderError("ends in its header")
    if head[0] != 0xFF or head[1] in _ALONE or head[1] in (0x00, 0xFF):
        raise HeaderError("has a damaged header")
    length = int.from_bytes(head[2:], "big") - 2
    if length < 0 or at + 4 + length > len(data):
        raise HeaderError("ends in its header")
    return at + 4, head[1], length


def _frame_size(frame: bytes) -> tuple[int, int]:
    components = frame[5] if len(frame) > 5 else 0
    if len(frame) != 6 + 3 * components:
        raise HeaderError("has a damaged header")
    if components not in (1, 3) or frame[0] != 8:
        raise HeaderError(f"has {components} channels of {frame[0]} bits, unlike the first")
    return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
