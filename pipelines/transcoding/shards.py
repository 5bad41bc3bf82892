"""Copies as tar shards, in WebDataset's layout.

Clips are made one by one, each as a part: its members of the shard, in a file. When all clips of a
shard are there, their parts, each followed by its label, become the shard. What a shard already
holds is taken from it when it is made anew.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

from tdn.pipelines.transcoding.journal import Journal, Member, Record
from tdn.pipelines.transcoding.output import Output
from tdn.pipelines.transcoding.plan import Copy
from tdn.pipelines.transcoding.settings import CopySettings
from tdn.pipelines.transcoding.writers import END_OF_TAR, add_member


class _Place(NamedTuple):
    """Where a finished copy's part lies."""

    record: Record
    file: Path
    offset: int


class CopyShards:
    """Tar shards: rows 0 to n-1 of the list in the first, and so on, usable or not.

    So a file that becomes usable or unusable changes its own shard only.
    """

    def __init__(
        self,
        output: Output,
        settings: CopySettings,
        copies: list[Copy],
        rows: int,
        journal: Journal,
    ) -> None:
        self._output = output
        self._parts = output.hidden(".parts")
        self._journal = journal
        count = -(-rows // settings.shard_clips)
        self._copies: list[list[Copy]] = [[] for _ in range(count)]
        for copy in copies:
            self._copies[copy.row // settings.shard_clips].append(copy)
        self._home = {c.name: number for number, shard in enumerate(self._copies) for c in shard}
        self._unsettled = set(range(count))
        self._waiting: Counter[int] = Counter()
        self._inside = self._members_of_shards()

    @property
    def source(self) -> str:
        """What ``tdn train`` is given."""
        last = len(self._copies) - 1
        return str(self._output.path(f"-{{000000..{last:06d}}}.tar"))

    def missing(self) -> list[Copy]:
        """The copies that are to be made."""
        missing = [c for shard in self._copies for c in shard if self._place(c) is None]
        self._waiting = Counter(self._home[copy.name] for copy in missing)
        return missing

    def target(self, copy: Copy) -> Path:
        """Where a copy's part is to lie."""
        return self._parts / f"{copy.name}.part"

    def key(self, copy: Copy) -> str:
        """Name in a tar shard."""
        return copy.name

    def finished(self, copy: Copy, record: Record | None) -> None:
        """Take note of a copy that was made, or could not be; the last one makes its shard."""
        if record is not None:
            self._journal.add(record)
        shard = self._home[copy.name]
        self._waiting[shard] -= 1
        if not self._waiting[shard]:
            self._settle(shard)

    def complete(self) -> list[tuple[Copy, Record]]:
        """Write what is left to write; returns what the shards hold, in order."""
        for shard in sorted(self._unsettled):
            self._settle(shard)
        count = len(self._copies) if self._inside else 0
        for shard in sorted(set(self._journal.shards) - set(range(count))):
            self._journal.drop_shard(shard)
            self._file(shard).unlink(missing_ok=True)
        if self._parts.exists():
            shutil.rmtree(self._parts)
        return [
            (copy, self._inside[copy.name].record)
            for shard in self._copies
            for copy in shard
            if copy.name in self._inside
        ]

    def bytes_after(self) -> int:
        """Size of all shards."""
        return sum(size for size, _ in self._journal.shards.values())

    def _file(self, shard: int) -> Path:
        return self._output.path(f"-{shard:06d}.tar")

    def _members_of_shards(self) -> dict[str, _Place]:
        """Where copies lie in the shards that are as they were made."""
        found = {}
        for shard, (size, members) in list(self._journal.shards.items()):
            file = self._file(shard)
            if not file.exists() or file.stat().st_size != size:
                self._journal.drop_shard(shard)
                continue
            for member in members:
                found[member.record.name] = _Place(member.record, file, member.offset)
        return found

    def _place(self, copy: Copy) -> _Place | None:
        """Where the copy of this state of the original lies, if it is there."""
        part, record = self.target(copy), self._journal.records.get(copy.name)
        if record is not None and part.exists() and part.stat().st_size == record.bytes:
            place: _Place | None = _Place(record, part, 0)
        else:
            place = self._inside.get(copy.name)
        return place if place is not None and place.record.source == copy.source else None

    def _settle(self, shard: int) -> None:
        """Make a shard of what there is of its copies, unless it is so already."""
        self._unsettled.discard(shard)
        held = [(copy, place) for copy in self._copies[shard] if (place := self._place(copy))]
        _, members = self._journal.shards.get(shard, (0, None))
        wanted = [(place.record, copy.label) for copy, place in held]
        if members is not None and [(m.record, m.label) for m in members] == wanted:
            return
        for member in members or ():
            self._save(member.record.name, shard)
        self._write(shard, held)

    def _save(self, name: str, shard: int) -> None:
        """Keep as a part what moves from a shard that is to be replaced to one still to come."""
        place, home = self._inside[name], self._home.get(name)
        if home == shard or home not in self._unsettled or place.file != self._file(shard):
            return
        part = self._parts / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            _copy_range(place, sink)
        self._journal.add(place.record)

    def _write(self, shard: int, held: list[tuple[Copy, _Place]]) -> None:
        temporary = self._output.temporary / f"{shard:06d}.tar"
        members = []
        with temporary.open("wb") as sink:
            for copy, place in held:
                members.append(Member(place.record, copy.label, sink.tell()))
                _copy_range(place, sink)
                add_member(sink, f"{copy.name}.cls", str(copy.label).encode())
            sink.write(END_OF_TAR)
            size = sink.tell()
        if shard in self._journal.shards:  # as of now its old description would be wrong
            for member in self._journal.shards[shard][1]:
                self._inside.pop(member.record.name, None)
            self._journal.drop_shard(shard)
        file = self._file(shard)
        temporary.replace(file)
        self._journal.add_shard(shard, size, members)
        for copy, member in zip((copy for copy, _ in held), members, strict=True):
            self._inside[copy.name] = _Place(member.record, file, member.offset)
            self.target(copy).unlink(missing_ok=True)


def _copy_range(place: _Place, sink: IO[bytes]) -> None:
    """Append a finished part, from wherever it lies."""
    with place.file.open("rb") as file:
        file.seek(place.offset)
        left = place.record.bytes
        while left:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                raise OSError(errno.EIO, "ends early", str(place.file))
            sink.write(piece)
            left -= len(piece)
