"""Real encoded videos whose frames carry their own number, and how to read it back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ENCODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9", "h264": "libx264", "mjpeg": "mjpeg"}
ENCODERS |= {"mpeg4": "mpeg4", "hevc": "libx265", "png": "png"}
SUFFIXES = {"vp8": ".webm", "vp9": ".webm", "h264": ".mp4", "hevc": ".mp4", "mjpeg": ".avi"}
SUFFIXES |= {"mpeg4": ".mp4", "png": ".mov"}
PIXEL_FORMATS = {"mjpeg": "yuvj420p", "png": "rgb24"}
ROWS, COLUMNS = 2, 4
OPTIONS = {
    "vp9": {"cpu-used": "8", "g": "6"},
    # With frames in flight x265 now and then hands out time stamps that the muxer refuses.
    "hevc": {"g": "6", "x265-params": "log-level=none:bframes=0:frame-threads=1:pools=none"},
}
"""Each encoder's, where a test gives none."""


def numbered_frame(number: int, height: int, width: int) -> np.ndarray:
    """A frame that shows `number` (0 to 255) as 2 x 4 black or white fields on grey."""
    frame = np.full((height, width, 3), 128, np.uint8)
    top, left = height // 8, width // 8
    field = (height - 2 * top) // ROWS, (width - 2 * left) // COLUMNS
    for bit in range(ROWS * COLUMNS):
        y = top + bit // COLUMNS * field[0]
        x = left + bit % COLUMNS * field[1]
        frame[y : y + field[0], x : x + field[1]] = 235 if number >> bit & 1 else 20
    return frame


def read_number(frame: np.ndarray, *, mirrored: bool = False) -> int:
    """The number a frame of any size shows; its fields are judged by their centres."""
    if mirrored:
        frame = frame[:, ::-1]
    height, width = frame.shape[:2]
    number = 0
    for bit in range(ROWS * COLUMNS):
        y = height * (0.125 + 0.75 * (bit // COLUMNS + 0.5) / ROWS)
        x = width * (0.125 + 0.75 * (bit % COLUMNS + 0.5) / COLUMNS)
        patch = frame[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
        number |= int(patch.mean() > 128) << bit
    return number


def write_video(
    path: Path,
    frames: int | list[np.ndarray] = 20,
    *,
    codec: str = "vp9",
    size: tuple[int, int] = (96, 128),
    audio: bool | str = False,
    options: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """Encode numbered frames (or the given ones) at 12 frames per second.

    Args:
        path: File to write; the suffix is that of the codec if it has none.
        frames: How many numbered frames, or the pictures themselves.
        codec: A key of `ENCODERS`.
        size: Height and width of numbered frames.
        audio: Whether to add a sound track; or by which encoder.
        options: The encoder's options.
        title: For the container's metadata.
    """
    path = path if path.suffix else path.with_suffix(SUFFIXES[codec])
    pictures = frames
    if isinstance(frames, int):
        pictures = [numbered_frame(number, *size) for number in range(frames)]
    with av.open(str(path), "w") as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(ENCODERS[codec], rate=12)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = PIXEL_FORMATS.get(codec, "yuv420p")
        stream.bit_rate = 800_000
        stream.options = OPTIONS.get(codec, OPTIONS["vp9"]) if options is None else options
        usual = "libopus" if codec in ("vp8", "vp9") else "aac"
        encoder = audio if isinstance(audio, str) else usual
        sound = container.add_stream(encoder, rate=48000) if audio else None
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if sound is not None:
            _add_silence(container, sound, seconds=len(pictures) / 12)
    return path


def _add_silence(container, stream, seconds: float) -> None:
    samples = 960
    for start in range(0, int(48000 * seconds), samples):
        silence = np.zeros((1, samples), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def rotate_mp4(path: Path, degrees: int) -> Path:
    """Write a display rotation (clockwise) into an mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    one = 1 << 16
    matrices = {
        90: (0, one, 0, -one, 0, 0),
        180: (-one, 0, 0, 0, -one, 0),
        270: (0, -one, 0, one, 0, 0),
    }
    start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of header
    for index, value in enumerate(matrices[degrees]):
        data[start + 4 * index : start + 4 * index + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


def write_list(path: Path, entries: list[tuple[Path | str, int]]) -> Path:
    """A list file with paths as given."""
    path.write_text("".join(f"{video} {label}\n" for video, label in entries))
    return path
