"""Whether a video file is shorter than its container says: cut off by a full disk or a download.

FFmpeg reads what is there and says nothing if the cut falls between two packets. The outermost
elements of the usual containers state their lengths (ISO 14496-12 section 4.2; RFC 8794 sections 4
to 6; RIFF).
"""

from __future__ import annotations

from typing import BinaryIO

_SEGMENT = 0x18538067
"""Matroska's element that holds all the rest."""


def is_cut_off(file: BinaryIO) -> bool:
    """Whether the last outermost element ends behind the file's end; False if nothing says so.

    Args:
        file: Seekable; it is left at its start.

    Raises:
        OSError: The file cannot be read.
    """
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        end = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1aE\xdf\xa3":
        end = _matroska_end(file)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        end = _boxes_end(file, length)
    else:
        end = 0
    file.seek(0)
    return end > length


def _boxes_end(file: BinaryIO, length: int) -> int:
    """Where the last box of an ISO file ends."""
    at = 0
    while at < length:
        file.seek(at)
        head = file.read(16)
        size, least = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, least = int.from_bytes(head[8:16], "big"), 16
        if size == 0:  # to the end of the file
            return length
        if size < least:
            return 0  # no box: whatever it is, it says nothing
        at += size
    return at


def _matroska_end(file: BinaryIO) -> int:
    """Where a Matroska file's segment ends; 0 if it does not say."""
    at = 0
    for _ in range(8):  # the header, perhaps something void, the segment
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return 0
        name, width = _number(head, keep_marker=True)
        size, more = _number(head[width:], keep_marker=False)
        at += width + more + size
        if name == _SEGMENT:
            unknown = size == (1 << 7 * more) - 1
            return 0 if unknown else at
    return 0


def _number(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """A number of variable width, and the width: leading zero bits say how many bytes follow."""
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big")
    return (value if keep_marker else value & ((1 << 7 * width) - 1)), width
