"""Videos out of the ordinary: frames shown at given times, damaged packets."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from tests.videos import ENCODERS, SUFFIXES, numbered_frame


def write_timed_video(
    path: Path,
    times: Sequence[int],
    *,
    codec: str = "h264",
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (96, 128),
) -> Path:
    """Encode numbered frames, each shown at its time, in milliseconds."""
    path = path.with_suffix(SUFFIXES[codec])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(ENCODERS[codec], rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = options or {}
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage_packet(path: Path, number: int) -> None:
    """Overwrite the content of one packet of a video."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, size = packets[number].pos + 4, packets[number].size - 4
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
