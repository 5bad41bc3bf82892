"""Predictions written over a video, with its sound: what the network sees, moment by moment."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, cast

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tdn.drawing import font
from tdn.errors import UserError
from tdn.files import check_not_an_input, write_atomically
from tdn.pipelines.decoding.frame_reading import frame_rate, iter_frames
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.videos.encoding import Codec
from tdn.pipelines.videos.reading import DecodingError
from tdn.prediction.results import Guess, VideoPrediction
from tdn.prediction.videos import read_video

_TICKS = 90_000
"""Units of time in a second, fine enough for any frame rate."""
CODEC = Codec("libx264", "mp4", ".mp4", "yuv420p", {"crf": "20", "preset": "veryfast"})
_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Codecs that mp4 files can hold as they are; other sound is left out."""
_PAPER = (0, 0, 0, 150)
_BAR = (46, 160, 67, 230)
_INK = (255, 255, 255, 255)


def overlay_paths(given: str, videos: Sequence[str]) -> list[Path]:
    """Where the drawn videos go.

    Args:
        given: An .mp4 file for a single video, or a folder, in which each is called as its video.
        videos: Files, and folders of frames.

    Returns:
        A file for each video.

    Raises:
        UserError: The name fits neither or cannot be written to, a file in the folder or a video
            would be overwritten, or there is no encoder.
    """
    path = Path(given)
    CODEC.check(path)
    if len(videos) == 1 and path.suffix.lower() == ".mp4" and not path.is_dir():
        check_not_an_input(path, videos)
        _check_folder(path.parent)
        return [path]
    if path.suffix and not path.is_dir():
        raise UserError(
            f"--overlay: '{given}' does not fit; give a file name that ends in .mp4, or for "
            "several videos a folder"
        )
    _check_folder(path)
    places: dict[Path, None] = {}  # in order
    for video in videos:
        stem, number = Path(video).stem, 1
        while (place := path / f"{stem}{f'-{number}' if number > 1 else ''}.mp4") in places:
            number += 1
        places[place] = None
    taken = next((place for place in places if place.exists()), None)
    if taken is not None:
        raise UserError(f"--overlay: {taken} is there already; give another folder, or remove it")
    return list(places)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is a file or cannot be written, or cannot be made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(f"--overlay: {there} is no folder that can be written; choose another")


def write_overlay(prediction: VideoPrediction, output: Path, top: int = 5) -> str:
    """Write a video with the most probable classes on every frame, and its sound.

    A frame shows the mean of the windows that it lies in, and nothing where it lies in none. Frames
    are upright, of the original's size (odd sides lose a pixel), at their own times.

    Args:
        prediction: What was predicted of the video.
        output: An .mp4 file.
        top: How many classes to show.

    Returns:
        What the original has and the file has not, in a few words; empty if there is nothing.

    Raises:
        UserError: The output is the video itself, the video cannot be read any more, or the file
            cannot be written.
    """
    CODEC.check(output)
    check_not_an_input(output, [prediction.path])
    manifest, times, _ = read_video(prediction.path)
    clip, shown = manifest.clip(0), _Shown(prediction, top)
    try:
        write_atomically(output, lambda file: _write(clip, times[0], shown, file))
    except DecodingError as error:
        raise UserError(f"{prediction.path}: {error}") from None
    return _left_out(clip)


def _write(clip: Clip, times: npt.NDArray[np.float64], shown: _Shown, file: IO[bytes]) -> None:
    with av.open(file, "w", format=CODEC.container) as container:
        stream = cast(
            av.VideoStream,
            container.add_stream(CODEC.encoder, rate=frame_rate(clip), options=CODEC.options),
        )
        stream.pix_fmt = CODEC.pixel_format
        stream.codec_context.time_base = Fraction(1, _TICKS)
        with _Sound(clip, container) as sound:
            for number, picture in enumerate(iter_frames(clip)):
                height, width = (side // 2 * 2 for side in picture.shape[:2])
                if number == 0:
                    stream.height, stream.width = height, width
                drawn = _draw(picture[:height, :width], shown.at(number))
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
                frame.pts, frame.time_base = round(times[number] * _TICKS), Fraction(1, _TICKS)
                sound.copy_until(float(times[number]))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
            sound.copy_until(float("inf"))


class _Shown:
    """What to show on which frame."""

    def __init__(self, prediction: VideoPrediction, top: int) -> None:
        self._prediction = prediction
        self._top = top
        self._windows = prediction.windows
        edges = {edge for w in self._windows for edge in (w.first_frame, w.first_frame + w.frames)}
        self._edges = sorted(edges)
        self._guesses = [self._between(edge) for edge in self._edges]

    def at(self, frame: int) -> Sequence[Guess]:
        """The classes to show on a frame, the most probable first; none between windows."""
        return self._guesses[bisect_right(self._edges, frame) - 1]

    def _between(self, frame: int) -> Sequence[Guess]:
        """Of the windows around a frame."""
        around = [
            window.probabilities
            for window in self._windows
            if window.first_frame <= frame < window.first_frame + window.frames
        ]
        return self._prediction.top(self._top, np.mean(around, axis=0)) if around else ()


class _Sound:
    """The sound of the original, copied beside the frames; nothing where there is none."""

    def __init__(self, clip: Clip, output: Any) -> None:
        self._clip = clip
        self._output = output
        self._input: Any = None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None

    def __enter__(self) -> _Sound:
        if self._clip.is_pictures:
            return self
        self._input = av.open(self._clip.path, metadata_errors="ignore")
        video = self._input.streams.best("video")
        source = self._input.streams.best("audio")
        if source is not None and _codec(source) in _SOUND:
            self._stream = self._output.add_stream_from_template(source)
            begin = (video.start_time or 0) * video.time_base
            self._shift = round(begin / source.time_base)
            self._packets = (p for p in self._input.demux(source) if p.size and p.pts is not None)
            self._next = next(self._packets, None)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._input is not None:
            self._input.close()

    def copy_until(self, seconds: float) -> None:
        """Copy what is heard before a time of the video."""
        while self._next is not None:
            packet = self._next
            if (packet.pts - self._shift) * packet.time_base > seconds:
                return
            packet.pts -= self._shift
            packet.dts = packet.pts
            if packet.pts >= 0:  # before the first frame
                packet.stream = self._stream
                self._output.mux(packet)
            self._next = next(self._packets, None)


def _left_out(clip: Clip) -> str:
    """What of a clip an .mp4 file cannot hold, in words; empty if there is nothing."""
    if clip.is_pictures:
        return ""
    with av.open(clip.path, metadata_errors="ignore") as container:
        source = container.streams.best("audio")
        codec = None if source is None else _codec(source)
    return (
        "" if codec is None or codec in _SOUND else f"its sound ({codec}), which .mp4 cannot hold"
    )


def _codec(stream: Any) -> str:
    """The codec's name, whichever decoder there is for it."""
    name: str = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    return name


def _draw(picture: npt.NDArray[np.uint8], guesses: Sequence[Guess]) -> npt.NDArray[np.uint8]:
    """A frame with classes and bars of their probabilities in its lower left corner."""
    if not guesses:
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    size = max(9, min(image.size) // 18)
    line, width = size * 3 // 2, min(image.width, 18 * size)
    guesses = guesses[: max(1, image.height // 2 // line)]  # half of a small picture stays free
    panel = Image.new("RGBA", (width, line * len(guesses)), _PAPER)
    draw = ImageDraw.Draw(panel)
    for number, guess in enumerate(guesses):
        y = number * line
        draw.rectangle((0, y + 1, round(guess.probability * (width - 1)), y + line - 2), fill=_BAR)
        share = f"{100 * guess.probability:.0f} %"
        room = width - font(size).getlength(share) - size
        draw.text((size // 3, y + size // 5), _cut(guess.name, room, size), _INK, font(size))
        draw.text((width - size // 3, y + size // 5), share, _INK, font(size), anchor="ra")
    image.paste(panel, (0, image.height - panel.height), panel)
    return np.asarray(image)


def _cut(text: str, width: float, size: int) -> str:
    """The text, or as much of its beginning as fits into a width in pixels, before three dots."""
    if font(size).getlength(text) <= width:
        return text
    texts = (f"{text[:end].rstrip()}..." for end in range(len(text) - 1, 0, -1))
    return next((cut for cut in texts if font(size).getlength(cut) <= width), "")
