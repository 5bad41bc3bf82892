"""The benchmark's own videos: photographs under a moving camera, the same every time.

A clip is 60 frames of 320 x 240 at 12 per second: the camera glides and zooms over one photograph
while a piece of another turns and crosses it, under the grain of a sensor. So files are about as
large as those of Something-Something (VP9) and Kinetics (H.264), and no two frames are the same.
Encoders write as FFmpeg does by default, one key frame at the start, so that seeking helps nobody;
but for one source, whose key frames are as close as those of copies made for training.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from tdn.pipelines.demo_data.encode import Codec, encode_video
from tdn.pipelines.demo_data.photos import load_photos

VERSION = 1
"""Raise it when files change, so that a kept folder does not mix old and new ones."""
FRAMES, WIDTH, HEIGHT = 60, 320, 240
SPRITE = 120
"""Side of what moves before the photograph, pixels."""
GRAIN = 2.0
"""Standard deviation of the grain, grey levels."""
JPEG_QUALITY = 90
CLASSES = 4
SHORT_GOP = "h264-gop8"
"""A key frame every eight frames, as ``tdn transcode`` writes copies by default."""
CODECS = {
    "vp9": Codec(
        "libvpx-vp9", "webm", ".webm", "yuv420p", {"crf": "30", "b": "0", "cpu-used": "4"}
    ),
    "h264": Codec("libx264", "mp4", ".mp4", "yuv420p", {"crf": "23"}),
    SHORT_GOP: Codec("libx264", "mp4", ".mp4", "yuv420p", {"crf": "23", "g": "8"}),
    "hevc": Codec(
        "libx265", "mp4", ".mp4", "yuv420p", {"crf": "25", "x265-params": "log-level=none"}
    ),
    "av1": Codec(
        "libsvtav1", "mp4", ".mp4", "yuv420p", {"crf": "32", "preset": "8", "svtav1-params": "lp=1"}
    ),
    "mjpeg": Codec("mjpeg", "avi", ".avi", "yuvj420p", {"qmin": "3", "qmax": "3"}),
}
JPEG = "jpeg"
SOURCES = (*CODECS, JPEG)
MEMORY = "memory"
"""The source of the control, which is none: the clips lie in memory."""
Frames = npt.NDArray[np.uint8]


class Recipe(NamedTuple):
    """What files are made of."""

    clips: int
    frames: int = FRAMES


def missing_encoder(source: str) -> str:
    """The encoder that a source lacks here, "" if none."""
    codec = CODECS.get(source)
    return "" if codec is None or codec.encoder in av.codecs_available else codec.encoder


@contextmanager
def kept_folder(folder: Path | None) -> Iterator[Path]:
    """The folder that was given, or one for as long as the context lasts."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tdn-clips-") as temporary:
        yield Path(temporary)


def make_clips(folder: Path, source: str, recipe: Recipe, workers: int) -> Path:
    """Write the clips of a source that are not there yet, and their list.

    Args:
        folder: where to; what is kept there from an earlier run is used again.
        source: of ``SOURCES``.
        recipe: how many clips, and how long.
        workers: processes that render and encode.

    Returns:
        The list: "path label" of videos, "path frames label" of folders of pictures.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells errors only
    home = folder / f"{source}-{recipe.frames}x{WIDTH}x{HEIGHT}-v{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    suffix = CODECS[source].suffix if source in CODECS else ""
    paths = [home / f"{number:04d}{suffix}" for number in range(recipe.clips)]
    numbers = [number for number, path in enumerate(paths) if not path.exists()]
    write: Callable[[Path, int, int], None] = (
        partial(_write_video, CODECS[source]) if source in CODECS else _write_pictures
    )
    _write_all(write, [(paths[n], n, recipe.frames) for n in numbers], workers)
    count = "" if source in CODECS else f" {recipe.frames}"
    lines = [f"{path.name}{count} {n % CLASSES}\n" for n, path in enumerate(paths)]
    listed = home / f"first-{recipe.clips}.txt"
    listed.write_text("".join(lines))
    return listed


def _write_all(
    write: Callable[[Path, int, int], None], jobs: Sequence[tuple[Path, int, int]], workers: int
) -> None:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            write(*job)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn) as pool:
        list(pool.map(write, *zip(*jobs, strict=True)))


def _write_video(codec: Codec, path: Path, number: int, frames: int) -> None:
    partial_file = path.with_name(f".{path.name}")
    partial_file.write_bytes(encode_video(render(number, frames), codec))
    partial_file.replace(path)


def _write_pictures(path: Path, number: int, frames: int) -> None:
    partial_folder = path.with_name(f".{path.name}")
    partial_folder.mkdir(exist_ok=True)
    for index, frame in enumerate(render(number, frames), start=1):
        picture = Image.fromarray(frame)
        picture.save(partial_folder / f"{index:05d}.jpg", quality=JPEG_QUALITY)
    partial_folder.replace(path)


def render(number: int, frames: int = FRAMES) -> Frames:
    """The frames of a clip, (frames, 240, 320, 3) uint8 RGB; a pure function of its arguments."""
    rng = np.random.default_rng(number)
    photos = load_photos("train")
    back, front = (photos[index] for index in rng.choice(len(photos), 2, replace=False))
    sprite = front.resize((SPRITE, SPRITE), Image.Resampling.BILINEAR)
    disc = Image.radial_gradient("L").resize((SPRITE, SPRITE)).point([255] * 128 + [0] * 128)
    largest = min(back.width / WIDTH, back.height / HEIGHT)
    zoom, *places = (rng.uniform(low, 1.0, 2) for low in (0.75, 0.0, 0.0, 0.0, 0.0))
    pictures = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    for index in range(frames):
        time = index / FRAMES
        # Where camera and sprite are, of the room they have; they never stand still.
        scale, x, y, sprite_x, sprite_y = (a + (b - a) * time for a, b in (zoom, *places))
        scale *= largest
        corner = x * (back.width - scale * WIDTH), y * (back.height - scale * HEIGHT)
        affine = (scale, 0, corner[0], 0, scale, corner[1])
        picture = back.transform(
            (WIDTH, HEIGHT), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        place = int(sprite_x * (WIDTH - SPRITE)), int(sprite_y * (HEIGHT - SPRITE))
        turned = sprite.rotate(90 * time, Image.Resampling.BILINEAR)
        picture.paste(turned, place, disc)
        grain = rng.normal(0, GRAIN, (HEIGHT, WIDTH, 1))
        pictures[index] = np.clip(np.asarray(picture) + grain, 0, 255)
    return pictures
