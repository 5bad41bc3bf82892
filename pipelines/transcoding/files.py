"""Copies as files: a video, or a folder of frames, for each clip, and a list of them."""

from __future__ import annotations

import os
from pathlib import Path

from tdn.pipelines.transcoding.encoding import copy_codec
from tdn.pipelines.transcoding.journal import Journal, Record
from tdn.pipelines.transcoding.output import Output
from tdn.pipelines.transcoding.plan import Copy
from tdn.pipelines.transcoding.settings import CopySettings


class CopyFiles:
    """Where copies lie that are files of their own: below a folder named like the list."""

    def __init__(
        self, output: Output, settings: CopySettings, copies: list[Copy], journal: Journal
    ) -> None:
        self._output = output
        self._jpeg = settings.format == "jpeg"
        self._suffix = "" if self._jpeg else copy_codec(settings.format, 1).suffix
        self._copies = copies
        self._journal = journal

    @property
    def source(self) -> str:
        """What ``tdn train`` is given."""
        return str(self._output.path(".txt"))

    def missing(self) -> list[Copy]:
        """The copies that are to be made, each name once."""
        wanted = {copy.name: copy for copy in self._copies}
        return [copy for copy in wanted.values() if not self._is_done(copy)]

    def target(self, copy: Copy) -> Path:
        """Where a copy is to lie."""
        return self._output.path("") / f"{copy.name}{self._suffix}"

    def key(self, _copy: Copy) -> str:
        """Name in a tar shard: none."""
        return ""

    def finished(self, _copy: Copy, record: Record | None) -> None:
        """Take note of a copy that was made, or could not be."""
        if record is not None:
            self._journal.add(record)

    def complete(self) -> list[tuple[Copy, Record]]:
        """Write the list; returns what it holds, in order."""
        held = [(c, self._journal.records[c.name]) for c in self._copies if self._is_done(c)]
        lines = []
        for copy, record in held:
            frames = f" {record.frames}" if self._jpeg else ""
            path = self.target(copy).relative_to(self._output.folder)
            lines.append(f"{path}{frames} {copy.label}\n")
        if lines:
            self._output.write(".txt", "".join(lines))
        return held

    def bytes_after(self) -> int:
        """Size of all copies in the list."""
        names = {copy.name for copy in self._copies if self._is_done(copy)}
        return sum(self._journal.records[name].bytes for name in names)

    def _is_done(self, copy: Copy) -> bool:
        """Whether the copy of this state of the original is there, as it was when it was made."""
        record = self._journal.records.get(copy.name)
        if record is None or record.source != copy.source:
            return False
        target = self.target(copy)
        try:
            if self._jpeg:
                return len(os.listdir(target)) == record.frames  # noqa: PTH208 - names
            return target.stat().st_size == record.bytes
        except OSError:
            return False
