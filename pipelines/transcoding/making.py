"""Making one copy: what the worker subprocesses do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from tdn.pipelines.decoding.frame_reading import frame_rate, iter_frames
from tdn.pipelines.files.frame_folders import frame_path
from tdn.pipelines.files.subprocess_workers import still_working
from tdn.pipelines.manifests.manifest import Clip
from tdn.pipelines.sampling.augmentation import Size
from tdn.pipelines.transcoding.writers import frame_folder, tar_part, video_file
from tdn.pipelines.videos.reading import DecodingError


class Job(NamedTuple):
    """A copy to be made."""

    clip: Clip
    size: Size
    format: str
    gop: int
    temporary: str
    """Where it is made; without ending."""
    target: str
    """Where it is moved when it is complete."""
    key: str = ""
    """Name in a tar shard, if the copy is to be part of one."""


class Made(NamedTuple):
    """A copy that was made, or why it was not."""

    frames: int = 0
    bytes: int = 0
    source_bytes: int = 0
    problem: str = ""
    """What is wrong with the original, in a few words."""


def make_copy(job: Job) -> Made | int:
    """Decode, resize and encode a clip; the target is there only when it is complete.

    Returns:
        What was made, or the number of the system's error if the target cannot be written.
    """
    temporary = Path(job.temporary)
    try:
        frames = _alive(iter_frames(job.clip, job.size))
        if job.format == "jpeg" and not job.key:
            count = frame_folder(frames, temporary)
        elif job.key:
            count = tar_part(frames, temporary, job.key, job.format, job.gop, frame_rate(job.clip))
        else:
            count = video_file(frames, temporary, job.format, job.gop, frame_rate(job.clip))
        if not count:
            return Made(problem="has no decodable frame")
        made = Made(count, _size(temporary), _source_bytes(job.clip))
        _move(temporary, Path(job.target))
        return made
    except DecodingError as error:
        return Made(problem=str(error))
    except OSError as error:
        return error.errno or -1
    except av.error.FFmpegError as error:
        return Made(problem=f"cannot be encoded: {error.strerror or error}".lower())
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _move(made: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if made.is_dir():
        remove(target)  # a folder cannot be replaced in one step
    os.replace(made, target)  # noqa: PTH105 - atomic


def _size(made: Path) -> int:
    if made.is_dir():
        return sum(file.stat().st_size for file in made.iterdir())
    return made.stat().st_size


def _source_bytes(clip: Clip) -> int:
    if clip.offsets:
        return sum(clip.sizes)
    if not clip.is_pictures:
        return clip.size
    frames = (frame_path(clip.path, clip.template, clip.first, n) for n in range(clip.frames))
    return sum(Path(frame).stat().st_size for frame in frames)


def _alive(
    frames: Iterable[npt.NDArray[np.uint8]],
) -> Iterator[npt.NDArray[np.uint8]]:
    """The frames; each is a sign of life."""
    for frame in frames:
        still_working()
        yield frame
