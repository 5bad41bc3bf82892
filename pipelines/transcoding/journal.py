"""What a copy's folder holds: a line of JSON for everything that is finished.

A line is written after what it tells of is complete and in its place. So whatever interrupts a run,
the next one knows what is done, and for which state of the originals.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

from tdn.errors import UserError
from tdn.pipelines.transcoding.plan import Source
from tdn.pipelines.transcoding.settings import CopySettings

_VERSION = 1


class Record(NamedTuple):
    """A finished copy: a video, a folder of frames, or a part that waits for its shard."""

    name: str
    source: Source
    frames: int
    bytes: int
    source_bytes: int


class Member(NamedTuple):
    """A copy inside a shard."""

    record: Record
    label: int
    offset: int
    """Where its part starts in the shard; the part is as long as the record's bytes."""


class Journal:
    """A journal that is open, and locked against other runs.

    Attributes:
        records: By name, the copies that were finished last.
        shards: By number, the members of finished shards, in order, and the shard's bytes.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.records: dict[str, Record] = {}
        self.shards: dict[int, tuple[int, list[Member]]] = {}

    def add(self, record: Record) -> None:
        """Note a finished copy."""
        self._write(["copy", *record])
        self.records[record.name] = record

    def add_shard(self, number: int, size: int, members: list[Member]) -> None:
        """Note a finished shard."""
        self._write(["shard", number, size, members])
        self.shards[number] = size, members

    def drop_shard(self, number: int) -> None:
        """Note that a shard is about to be replaced or removed."""
        self._write(["shard", number, 0, []])
        self.shards.pop(number, None)

    def _write(self, entry: list[Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def replay(self, lines: list[str]) -> None:
        """Take in what an earlier run wrote."""
        for line in lines:
            kind, *values = json.loads(line)
            if kind == "copy":
                record = _record(values)
                self.records[record.name] = record
                continue
            number, size, members = values
            self.shards[number] = size, [Member(_record(r), *rest) for r, *rest in members]


def _record(values: list[Any]) -> Record:
    name, source, *rest = values
    return Record(name, Source(*source), *rest)


@contextmanager
def open_journal(path: Path, settings: CopySettings) -> Iterator[Journal]:
    """Open a journal, or begin one.

    Args:
        path: The file; its folder exists.
        settings: What the copies are like; those of an earlier run must be the same.

    Raises:
        UserError: Another run has it open, it belongs to other settings or to something else, or it
            cannot be written.
    """
    head = json.dumps({"tdn transcode": _VERSION, **asdict(settings)})
    try:
        # Not truncated, and read before the lock is had: opened for both.
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{path}: another tdn transcode is writing there; wait for it, or choose "
                    "another output"
                ) from None
            file.seek(0)
            lines = file.read().split("\n")
            # What follows the last line end was cut off while it was written.
            file.truncate(len("".join(f"{line}\n" for line in lines[:-1]).encode()))
            journal = Journal(file)
            if lines[:-1]:
                _replay(path, journal, lines[:-1], head)
            else:
                file.write(head + "\n")
                file.flush()
            yield journal
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be written: {os.strerror(error.errno or 0).lower()};"
            " run the same command again when that is mended: it goes on where it was"
        ) from None


def _replay(path: Path, journal: Journal, lines: list[str], head: str) -> None:
    """Take in an earlier run's lines; refuse those of something else."""
    try:
        old, new = json.loads(lines[0]), json.loads(head)
        other = [f"{key} {old[key]}, not {new[key]}" for key in new if old[key] != new[key]]
        if not other:
            journal.replay(lines[1:])
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: is damaged; delete it, or choose another output") from None
    if other:
        raise UserError(
            f"{path.parent}: holds a copy with other settings ({', '.join(other)}); choose another "
            "output, or delete that copy"
        )
