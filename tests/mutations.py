"""What happens to files: cut off, bits flipped, blocks lost, halves mixed, headers that lie."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import av

KINDS = ("cut", "flip", "flips", "head", "zeros", "lost", "twice", "swap", "splice")


def mutant(data: bytes, other: bytes, kind: str, rng: random.Random) -> bytes:
    """A damaged copy of a file; `other` is what is spliced in. Never the file itself."""
    while True:
        found = _mutant(bytearray(data), other, kind, rng)
        if found != data:
            return found


def _mutant(data: bytearray, other: bytes, kind: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    size = rng.choice([1, 16, 200, 2000])
    if kind == "cut":
        return bytes(data[: at + 1])
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "flips":
        for _ in range(rng.randrange(2, 40)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "head":  # where the tables of most containers are
        data[rng.randrange(min(len(data), 1000))] = rng.randrange(256)
    elif kind == "zeros":
        part = data[at : at + size]
        data[at : at + size] = bytes(len(part))
    elif kind == "lost":
        del data[at : at + size]
    elif kind == "twice":
        data[at:at] = data[at : at + size]
    elif kind == "swap":
        there = rng.randrange(len(data))
        one, two = bytes(data[at : at + size]), bytes(data[there : there + size])
        data[at : at + len(two)], data[there : there + len(one)] = two, one
    else:
        data[at:] = other[min(at, len(other)) :]
    return bytes(data)


def cuts(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file cut off in its header, at the start, in the middle and at the end of packets."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        places = {(packet.pos, packet.size) for packet in packets[:: len(packets) // 4]}
    ends = {len(data) - 1, 8, 100}
    for start, size in places:
        ends |= {start, start + 1, start + size // 2, start + size}
    for end in sorted(end for end in ends if 0 < end < len(data)):
        yield f"cut-at-{end}", data[:end]


def lies(path: Path) -> Iterator[tuple[str, bytes]]:
    """Headers that promise more frames than there are, and parts that are there twice."""
    data = path.read_bytes()
    if data[:4] == b"RIFF":
        more = bytearray(data)
        for mark, offset in ((b"avih", 24), (b"strh", 40)):
            at = data.index(mark) + offset
            (count,) = struct.unpack_from("<I", data, at)
            struct.pack_into("<I", more, at, count + 20)
        yield "overcounts", bytes(more)
        yield "overcounts-and-ends-early", bytes(more[: len(more) * 2 // 3])
    if data[4:8] == b"ftyp":
        atoms = list(_atoms(data))
        for name, atom in atoms:
            yield f"{name}-twice", b"".join(a for _, a in atoms) + atom
        yield "backwards", b"".join(atom for _, atom in reversed(atoms))
        yield "without-moov", b"".join(atom for name, atom in atoms if name != "moov")


def _atoms(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8].decode("latin-1"), data[at : at + size]
        at += size
