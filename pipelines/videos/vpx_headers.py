"""Headers of VP8 and VP9 packets: whether they show a picture, and its size.

Containers say neither. DALI's CPU decoder takes every packet for a picture and every picture for
one of the container's size, and writes past its memory, or leaves it uninitialised, where that is
not so. (RFC 6386 section 9.1; VP9 bitstream specification, section 6.2 and annex B.)
"""

from __future__ import annotations

Size = tuple[int, int]
"""(width, height) in pixels, as coded."""

_VP9_SYNC = 0x498342
_RGB = 7


class HeaderError(ValueError):
    """The packet is not what its codec prescribes."""


class Vp8Headers:
    """Reads the packets of a VP8 stream in order."""

    def __init__(self) -> None:
        self._size: Size = (0, 0)

    def shown(self, packet: memoryview) -> list[Size]:
        """Sizes of the pictures that a packet shows: one, or none if it is hidden."""
        if len(packet) < 3:
            raise HeaderError("ends in its header")
        if not packet[0] & 1:  # a key frame
            if len(packet) < 10 or bytes(packet[3:6]) != b"\x9d\x01\x2a":
                raise HeaderError("has no start code")
            width, height = (int.from_bytes(packet[at : at + 2], "little") for at in (6, 8))
            self._size = (width & 0x3FFF, height & 0x3FFF)
        return [self._size] if packet[0] & 0x10 else []


class Vp9Headers:
    """Reads the packets of a VP9 stream in order: sizes are inherited from earlier frames."""

    def __init__(self) -> None:
        self._slots: list[Size] = [(0, 0)] * 8

    def shown(self, packet: memoryview) -> list[Size]:
        """Sizes of the pictures that a packet shows; hidden frames share a packet with others."""
        sizes = (self._frame(_Bits(frame)) for frame in _superframe(packet))
        return [size for size in sizes if size is not None]

    def _frame(self, bits: _Bits) -> Size | None:
        """The size of a frame if it is shown."""
        if bits.read(2) != 2:
            raise HeaderError("has no frame marker")
        profile = bits.read(1) + 2 * bits.read(1)
        if profile == 3:
            bits.read(1)
        if bits.read(1):  # an earlier frame is shown
            return self._slots[bits.read(3)]
        key, shown, resilient = not bits.read(1), bits.read(1), bits.read(1)
        if key:
            _check_sync(bits)
            _skip_colours(bits, profile)
            refreshed, size = 0xFF, _size(bits)
        else:
            intra = not shown and bits.read(1)
            if not resilient:
                bits.read(2)
            if intra:
                _check_sync(bits)
                if profile > 0:
                    _skip_colours(bits, profile)
                refreshed, size = bits.read(8), _size(bits)
            else:
                refreshed = bits.read(8)
                size = self._referred_size(bits)
        self._slots = [
            size if refreshed >> slot & 1 else old for slot, old in enumerate(self._slots)
        ]
        return size if shown else None

    def _referred_size(self, bits: _Bits) -> Size:
        references = [bits.read(4) >> 1 for _ in range(3)]  # without the sign biases
        for reference in references:
            if bits.read(1):
                return self._slots[reference]
        return _size(bits)


class _Bits:
    """The start of a frame, bit by bit, the most significant first."""

    _HEADER = 24
    """Bytes that hold everything up to the size."""

    def __init__(self, frame: memoryview) -> None:
        head = frame[: self._HEADER]
        self._value, self._left = int.from_bytes(head, "big"), 8 * len(head)

    def read(self, count: int) -> int:
        if count > self._left:
            raise HeaderError("ends in its header")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)


def _superframe(packet: memoryview) -> list[memoryview]:
    """The frames of a packet, whose sizes may stand in an index at its end."""
    marker = packet[-1]
    if marker & 0xE0 != 0xC0:
        return [packet]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = packet[-(2 + count * width) :]
    if len(index) != 2 + count * width or index[0] != marker:
        return [packet]
    frames, start = [], 0
    for at in range(1, 1 + count * width, width):
        size = int.from_bytes(index[at : at + width], "little")
        frames.append(packet[start : start + size])
        start += size
    return [frame for frame in frames if len(frame)]


def _check_sync(bits: _Bits) -> None:
    if bits.read(24) != _VP9_SYNC:
        raise HeaderError("has no start code")


def _skip_colours(bits: _Bits, profile: int) -> None:
    if profile >= 2:
        bits.read(1)  # 12 bits
    if bits.read(3) != _RGB:
        bits.read(1 + 3 * (profile in (1, 3)))  # range; subsampling
    elif profile in (1, 3):
        bits.read(1)


def _size(bits: _Bits) -> Size:
    return bits.read(16) + 1, bits.read(16) + 1
