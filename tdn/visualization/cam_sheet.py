"""Class activation maps as a picture and as a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tdn.drawing import FAINT, INK, PAPER, font, sheet, shortened
from tdn.files import write_atomically
from tdn.pipelines.videos.encoding import Codec, encode_video

_TEXT = 13
_CAPTION = 20
_GAP = 3
_FAINTEST, _STRONGEST = 0.15, 0.75
"""How much the colours cover the frame where the heat is 0 and 1."""
_CODEC = Codec("libx264", "mp4", ".mp4", "yuv420p", {"crf": "18", "preset": "veryfast"})
_ACROSS = 4
"""Panels of the video side by side, at most."""
_RATE = 8
"""Frames of the video per second: slower than life, to see which frames the network compares."""
_COLOURS = np.array(
    [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32
)
"""Of heat from 0 to 1: dark violet, red, orange, pale yellow, which greyscale prints keep."""


class Heat(NamedTuple):
    """A row of the picture."""

    title: str
    heat: npt.NDArray[np.float32] | None
    """(T, H, W), 0 to 1; None shows the frames alone."""


def cam_sheet(
    frames: npt.NDArray[np.uint8],
    seconds: npt.NDArray[np.float64],
    heats: Sequence[Heat],
    side: int = 160,
) -> Image.Image:
    """Draw a row for each heat, over the centre frames; a column is a segment.

    Args:
        frames: (T, 5, H, W, 3) uint8 RGB.
        seconds: (T, 5) when they are shown in the video.
        heats: The rows.
        side: Longest side of a drawn frame, pixels.
    """
    centre = frames.shape[1] // 2
    height, width = _scaled(frames.shape[2], frames.shape[3], side)
    columns = len(frames)
    row = _CAPTION + height + 2 * _GAP
    picture = Image.new(
        "RGB", (columns * (width + _GAP) + _GAP, row * len(heats) + _CAPTION), PAPER
    )
    draw = ImageDraw.Draw(picture)
    for number, (title, heat) in enumerate(heats):
        top = number * row
        draw.text((_GAP, top + _GAP), title, INK, font(_TEXT))
        for segment in range(columns):
            shown = frames[segment, centre]
            tile = shown if heat is None else heated(shown, heat[segment])
            place = _GAP + segment * (width + _GAP), top + _CAPTION
            picture.paste(Image.fromarray(tile).resize((width, height)), place)
    for segment in range(columns):
        at = _GAP + segment * (width + _GAP), row * len(heats)
        draw.text(at, f"{seconds[segment, centre]:.2f} s", FAINT, font(_TEXT))
    return picture


def save_cam_video(
    frames: npt.NDArray[np.uint8],
    seconds: npt.NDArray[np.float64],
    heats: Sequence[Heat],
    path: Path,
    side: int = 320,
) -> None:
    """Write all frames of the clip in order as a video, the heats beside and below each other.

    Args:
        frames: (T, 5, H, W, 3) uint8 RGB.
        seconds: (T, 5) when they are shown in the video.
        heats: The panels, row by row.
        path: An .mp4 file.
        side: Longest side of a panel, pixels.

    Raises:
        UserError: The file cannot be written, or there is no encoder.
    """
    _CODEC.check(path)
    pictures = _video_frames(frames, seconds, heats, side)
    write_atomically(path, lambda file: encode_video(file, pictures, _CODEC, _RATE))


def _video_frames(
    frames: npt.NDArray[np.uint8],
    seconds: npt.NDArray[np.float64],
    heats: Sequence[Heat],
    side: int,
) -> Iterator[npt.NDArray[np.uint8]]:
    height, width = (length // 2 * 2 for length in _scaled(frames.shape[2], frames.shape[3], side))
    lines = -(-len(heats) // _ACROSS)
    for segment, of_segment in enumerate(frames):
        for number, shown in enumerate(of_segment):
            tiles = [
                _panel(
                    title, shown if heat is None else heated(shown, heat[segment]), height, width
                )
                for title, heat in heats
            ]
            panels = sheet(tiles, columns=-(-len(heats) // lines))
            picture = Image.new("RGB", (panels.width, panels.height + _CAPTION), PAPER)
            picture.paste(panels)
            told = f"segment {segment + 1} of {len(frames)}, {seconds[segment, number]:.2f} s"
            at = _GAP, panels.height + _GAP
            ImageDraw.Draw(picture).text(at, told, FAINT, font(_TEXT))
            yield np.asarray(picture)


def _panel(title: str, frame: npt.NDArray[np.uint8], height: int, width: int) -> Image.Image:
    """A frame under its title."""
    picture = Image.new("RGB", (width, height + _CAPTION), PAPER)
    picture.paste(Image.fromarray(frame).resize((width, height)), (0, _CAPTION))
    told = shortened(title, width - 2 * _GAP, _TEXT)
    ImageDraw.Draw(picture).text((_GAP, _GAP), told, INK, font(_TEXT))
    return picture


def heated(frame: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A frame (H, W, 3) in grey under a heat (H, W) in colours."""
    grey = frame.mean(axis=2, keepdims=True)
    place = np.clip(heat, 0, 1) * (len(_COLOURS) - 1)
    colours = np.stack(
        [np.interp(place, np.arange(len(_COLOURS)), channel) for channel in _COLOURS.T], axis=-1
    )
    cover = (_FAINTEST + (_STRONGEST - _FAINTEST) * np.clip(heat, 0, 1))[..., None]
    mixed = (1 - cover) * grey + cover * colours
    return mixed.round().astype(np.uint8)


def _scaled(height: int, width: int, side: int) -> tuple[int, int]:
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
