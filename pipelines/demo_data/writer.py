"""Writing the demo data set: clips in parallel, then lists, so that no list names a missing file.

A folder remembers what it was made from. Making it again with the same parameters keeps the clips
that are there; a folder that holds anything else is refused.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from tdn.errors import UserError
from tdn.files import write_atomically
from tdn.machine import usable_cores
from tdn.pipelines.demo_data.classes import (
    CLASS_COUNTS,
    MotionClass,
    flip_labels,
    motion_classes,
)
from tdn.pipelines.demo_data.encode import Codec, encode_video, find_codec
from tdn.pipelines.demo_data.render import render_clip

RECIPE = "demo_data.json"
_REMEDY = "choose a folder that can be written and has free space"
RECIPE_VERSION = 1  # raise it when the pictures change, so that old and new clips never mix


@dataclass(frozen=True)
class DemoData:
    """What was written, and where."""

    folder: Path
    train_list: Path
    validation_list: Path
    labels: Path
    flip_labels: Path
    classes: Path
    num_classes: int
    train_clips: int
    validation_clips: int


@dataclass(frozen=True)
class ClipJob:
    """One clip to be written; everything that its bytes depend on."""

    path: Path
    seed: int
    split: str
    index: int
    motion: MotionClass
    codec: Codec


def write_demo_data(
    folder: str | Path,
    *,
    classes: int = 12,
    clips: int = 480,
    validation_clips: int = 192,
    seed: int = 0,
    codec: str = "vp9",
    workers: int | None = None,
    progress: bool = True,
) -> DemoData:
    """Make the demo data set: small videos of motion classes in mirrored or time-reversed pairs.

    Args:
        folder: where to; made if missing. Finished clips of the same parameters are kept.
        classes: 12, or 16 for four harder ones more.
        clips: training clips, at least one a class; classes take turns, so they are balanced.
        validation_clips: the same for validation, which shows other photographs.
        seed: 0 or more. Clip i of a split depends on it, i and ``classes`` only, not on the number
            of clips or workers.
        codec: "vp9", "h264" or "mjpeg".
        workers: processes; None for one a CPU that this process may use. They are spawned: call
            this from under ``if __name__ == "__main__":`` or with workers=1 (in this process).
        progress: show a progress bar if standard error is a terminal.

    Raises UserError for parameters out of range, for a folder that cannot be written and for one
    that holds something else.
    """
    _check_counts(classes, clips, validation_clips, seed, workers)
    chosen = find_codec(codec)
    motions = motion_classes(classes)
    folder = Path(folder)
    jobs = {
        split: _plan(folder / "videos", split, count, seed, motions, chosen)
        for split, count in (("train", clips), ("validation", validation_clips))
    }
    _claim(
        folder,
        {"version": RECIPE_VERSION, "classes": classes, "seed": seed, "codec": codec},
    )
    _write_clips([job for split in jobs.values() for job in split], workers, progress)
    return _write_lists(folder, jobs, motions)


def _plan(
    folder: Path, split: str, count: int, seed: int, motions: list[MotionClass], codec: Codec
) -> list[ClipJob]:
    """The clips of a split; the classes take turns."""
    return [
        ClipJob(
            folder / f"{split}_{index:05d}{codec.suffix}",
            seed,
            split,
            index,
            motions[index % len(motions)],
            codec,
        )
        for index in range(count)
    ]


def _check_counts(
    classes: int, clips: int, validation_clips: int, seed: int, workers: int | None
) -> None:
    if classes not in CLASS_COUNTS:
        raise UserError(f"--classes {classes}: choose {' or '.join(map(str, CLASS_COUNTS))}")
    for option, count in (("--clips", clips), ("--validation-clips", validation_clips)):
        if count < classes:
            raise UserError(f"{option} {count}: at least one clip a class, {classes} or more")
    if seed < 0:
        raise UserError(f"--seed {seed}: choose 0 or more")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: choose 1 or more")


def _claim(folder: Path, recipe: dict[str, int | str]) -> None:
    """Make the folder ours, or find that it already is; refuse one that holds something else."""
    note = folder / RECIPE
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            if any(folder.iterdir()):
                raise UserError(f"{folder} is not empty: choose a new folder for the demo data")
            _write(note, json.dumps(recipe, indent=1).encode() + b"\n")
        (folder / "videos").mkdir(exist_ok=True)
    found = _read_recipe(note)
    if found != recipe:
        differences = ", ".join(
            f"{key} {found.get(key)}, not {value}"
            for key, value in recipe.items()
            if found.get(key) != value
        )
        raise UserError(
            f"{folder} holds other demo data ({differences}): "
            "choose another folder or delete this one"
        )


def _read_recipe(note: Path) -> dict[str, int | str]:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{note} is damaged: delete the folder or choose another one")
    return found


def _write_clips(jobs: list[ClipJob], workers: int | None, progress: bool) -> None:
    missing = [job for job in jobs if not job.path.exists()]
    workers = min(workers or usable_cores(), len(missing))
    with tqdm(
        total=len(jobs),
        initial=len(jobs) - len(missing),
        desc="demo data",
        unit="clip",
        disable=None if progress else True,
    ) as bar:
        if workers <= 1:
            for job in missing:
                write_clip(job)
                bar.update()
            return
        with ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker
        ) as pool:
            try:
                for _ in pool.map(write_clip, missing, chunksize=4):
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, which stops handing out clips."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_clip(job: ClipJob) -> None:
    """Render, encode and write one clip."""
    frames = render_clip(job.seed, job.split, job.index, job.motion)
    _write(job.path, encode_video(frames, job.codec))


def _write_lists(
    folder: Path, jobs: dict[str, list[ClipJob]], motions: list[MotionClass]
) -> DemoData:
    swaps = flip_labels(motions)
    texts = {
        "labels.txt": "".join(f"{motion.name}\n" for motion in motions),
        "flip_labels.yaml": "data:\n  flip_labels:\n"
        + "".join(f"    {label}: {mirror}\n" for label, mirror in swaps.items()),
        "classes.json": json.dumps([asdict(motion) for motion in motions], indent=1) + "\n",
    }
    for split, clips in jobs.items():
        texts[f"{split}.txt"] = "".join(
            f"{clip.path.relative_to(folder)} {clip.motion.label}\n" for clip in clips
        )
    for name, text in texts.items():
        _write(folder / name, text.encode())
    return DemoData(
        folder=folder,
        train_list=folder / "train.txt",
        validation_list=folder / "validation.txt",
        labels=folder / "labels.txt",
        flip_labels=folder / "flip_labels.yaml",
        classes=folder / "classes.json",
        num_classes=len(motions),
        train_clips=len(jobs["train"]),
        validation_clips=len(jobs["validation"]),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete."""
    # Thousands of clips that can be made again: not worth waiting for the disk each time.
    write_atomically(path, lambda file: file.write(content), _REMEDY, lasting=False)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Say in one line what could not be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or path}: {error.strerror}; {_REMEDY}"
        ) from error
