"""The same numbered clips as each kind of source: frame folders, class folders, tar shards, CSV."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.videos import numbered_frame


def write_frame_folder(
    folder: Path,
    frames: int | list[np.ndarray],
    *,
    template: str = "{:05d}.jpg",
    first: int = 1,
    size: tuple[int, int] = (96, 128),
    quality: int = 90,
) -> Path:
    """Numbered frames (or the given pictures) as a folder of pictures."""
    folder.mkdir(parents=True)
    pictures = frames
    if isinstance(frames, int):
        pictures = [numbered_frame(number, *size) for number in range(frames)]
    for number, picture in enumerate(pictures, start=first):
        Image.fromarray(picture).save(folder / template.format(number), quality=quality)
    return folder


def add_to_tar(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_shard(path: Path, samples: Sequence[tuple[str, Path, str]]) -> Path:
    """A tar shard of (key, video or folder of frames, label as text)."""
    with tarfile.open(path, "w") as tar:
        for key, source, label in samples:
            if source.is_dir():
                for picture in sorted(source.iterdir()):
                    add_to_tar(tar, f"{key}/{picture.name}", picture.read_bytes())
            else:
                add_to_tar(tar, f"{key}{source.suffix}", source.read_bytes())
            add_to_tar(tar, f"{key}.cls", label.encode())
    return path
