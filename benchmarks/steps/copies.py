"""Clips in numbers, for runs that must not read a file twice: copies of a few, in any form."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from benchmarks.clips.data import SHORT_GOP, Recipe, make_clips
from tdn.machine import usable_cores

SHARDS = "shards"
"""The source of tar shards, of videos whose key frames are close."""
FILES_MADE = 16
"""Different clips. Their copies are files of their own to the system."""
CLIPS_OF_A_SHARD = 16


def form_of(source: str) -> str:
    """The source whose files a source is made of, as ``benchmarks.clips.data`` has it."""
    return SHORT_GOP if source == SHARDS else source


def copied_clips(folder: Path, source: str, count: int) -> tuple[str, list[Path]]:
    """So many clips of a source, and a list of them.

    Args:
        folder: Where to; what is kept there from an earlier run is used again.
        source: Of ``benchmarks.clips.data.SOURCES``, or ``SHARDS``.
        count: How many.

    Returns:
        The list, as ``data.train_list``, and the files that are read.
    """
    listed = make_clips(folder, form_of(source), Recipe(FILES_MADE), usable_cores())
    if source == SHARDS:
        return _shards(listed, count)
    made = _copies(listed, count)
    return str(made), [path for path in made.parent.rglob("*") if path.is_file() and path != made]


def _copies(listed: Path, count: int) -> Path:
    """Files, or folders of files, beside their list."""
    home = listed.parent / f"copies-{count}"
    lines = [line.split() for line in listed.read_text().splitlines()]
    copies = []
    for number in range(count):
        name, *rest = lines[number % len(lines)]
        copy = f"{number:05d}-{name}"
        copies.append(" ".join((copy, *rest)) + "\n")
        if not (home / copy).exists():
            home.mkdir(exist_ok=True)
            copier = shutil.copytree if (listed.parent / name).is_dir() else shutil.copyfile
            copier(listed.parent / name, home / copy)
    made = home / "list.txt"
    made.write_text("".join(copies))
    return made


def _shards(listed: Path, count: int) -> tuple[str, list[Path]]:
    """Tar files in WebDataset's layout: KEY.mp4 beside KEY.cls."""
    home = listed.parent / f"shards-{count}"
    home.mkdir(exist_ok=True)
    lines = [line.split() for line in listed.read_text().splitlines()]
    files = []
    for first in range(0, count, CLIPS_OF_A_SHARD):
        files.append(home / f"clips-{first:05d}.tar")
        with tarfile.open(files[-1], "w") as tar:
            for number in range(first, min(count, first + CLIPS_OF_A_SHARD)):
                name, label = lines[number % len(lines)]
                clip = listed.parent / name
                tar.add(clip, f"{number:05d}{clip.suffix}")
                entry = tarfile.TarInfo(f"{number:05d}.cls")
                entry.size = len(label)
                tar.addfile(entry, io.BytesIO(label.encode()))
    return str(home / "clips-*.tar"), files
