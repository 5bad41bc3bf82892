"""The manifest: what every clip of a data set holds, checked once and kept in one file.

An Arrow IPC file with one record per row of the list, unusable rows included, so that a row number
means the same in both. It is memory-mapped: opening it does not depend on its length, and processes
on one machine share its pages. ``pyarrow.feather.read_table`` and pandas read it too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tdn.errors import UserError
from tdn.pipelines.files.frame_folders import PICTURE_CODECS

FORMAT = b"3"
_WORD = pa.dictionary(pa.int16(), pa.string())
SCHEMA = pa.schema(
    [
        ("path", pa.large_string()),
        ("member", pa.large_string()),
        ("label", pa.int32()),
        ("line", pa.int64()),
        ("frames", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
        ("codec", _WORD),
        ("pixel_format", _WORD),
        ("template", pa.dictionary(pa.int32(), pa.string())),  # may be another for every clip
        ("first", pa.int32()),
        ("offsets", pa.large_list(pa.int64())),
        ("sizes", pa.large_list(pa.int64())),
        ("size", pa.int64()),
        ("mtime", pa.int64()),
        ("plain", pa.bool_()),
        ("gop", pa.int32()),
        ("decoded", pa.bool_()),
        ("checksum", pa.int64()),
        ("problem", pa.large_string()),
    ]
)


class Clip(NamedTuple):
    """One usable row: everything needed to read frames of it."""

    row: int
    path: str
    """A video file, a folder of frames, or a tar shard."""
    label: int
    frames: int
    width: int
    height: int
    rotation: int
    codec: str
    """FFmpeg's name of the video's codec; of frames that are pictures, "jpeg", "png", ..."""
    pixel_format: str
    size: int
    """Bytes of the file; 0 for a folder of frames and for frames in a shard."""
    template: str = ""
    """For a folder of frames: format of their names, given the number."""
    first: int = 0
    """For a folder of frames: number of frame 0."""
    mtime: int = 0
    """When the file was changed, nanoseconds since 1970."""
    plain: bool = False
    """Whether a video is one that DALI may decode (``videos.survey.Video``)."""
    gop: int = 0
    """Of such a video, frames in the longest group that can be decoded by itself."""
    checksum: int = 0
    """CRC-32 of a video."""
    member: str = ""
    """For part of a tar shard: its name there."""
    offsets: tuple[int, ...] = ()
    """For part of a tar shard: where its file starts, or each of its frames."""
    sizes: tuple[int, ...] = ()
    """The bytes of each of them."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"{self.path}: {self.member}" if self.member else self.path

    @property
    def is_pictures(self) -> bool:
        """Whether every frame is a picture file of its own, rather than part of a video."""
        return self.codec in PICTURE_CODECS


class Kind(NamedTuple):
    """Usable clips that are decoded alike."""

    codec: str
    pixel_format: str
    rotation: int
    side: int
    """The shorter side, pixels."""
    in_shards: bool
    plain: bool
    """As a clip's."""
    pictures: bool
    """Whether frames are pictures of their own."""
    clips: int
    pixels: int
    """Width times height of the largest."""


class Manifest:
    """A read-only view of a manifest file.

    Attributes:
        file: The manifest's own path.
        list_path: The list it was made from.
        root: Folder that relative paths are relative to.
        classes: Names of the labels 0, 1, ...; empty where the list gives numbers.
        template: Format of picture names in folders of frames; empty if it was to be found out.
        labels: (rows,) int32 label of every row.
        frames: (rows,) int32 frame count of every row, 0 for unusable ones.
        usable: (usable rows,) int32 row numbers of the usable clips, rising.
        shards: (shards + 1,) positions in ``usable`` where each tar shard's clips start, and the
            end; None for clips that are in no shards.
    """

    def __init__(self, file: str | Path) -> None:
        """Open a manifest.

        Raises:
            UserError: The file is missing, or is not a manifest of this version.
        """
        self.file = Path(file)
        try:
            # The map stays open as long as a column refers to it.
            table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        except FileNotFoundError:
            raise UserError(f"{file}: no such manifest; make it with 'tdn index'") from None
        except (pa.ArrowInvalid, OSError):
            raise UserError(f"{file}: is not a manifest; make it with 'tdn index'") from None
        metadata = table.schema.metadata or {}
        if metadata.get(b"tdn.format") != FORMAT or table.schema.names != SCHEMA.names:
            raise UserError(
                f"{file}: is a manifest of another version; delete it and run 'tdn index' again"
            )
        self.table = table
        self.list_path = Path(metadata[b"tdn.list"].decode())
        self.root = Path(metadata[b"tdn.root"].decode())
        summary = json.loads(metadata[b"tdn.summary"])
        self.classes: tuple[str, ...] = tuple(summary["classes"])
        self.template: str = summary["template"]
        self._digest: str = summary["digest"]
        self._kinds = [Kind(*kind) for kind in summary["kinds"]]
        self.shards: npt.NDArray[np.int64] | None = (
            np.array(summary["shards"]) if summary["shards"] else None
        )
        self.labels: npt.NDArray[np.int32] = self._numbers("label")
        self.frames: npt.NDArray[np.int32] = self._numbers("frames")
        self.usable = usable_rows(self.frames)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def _numbers(self, column: str) -> npt.NDArray[Any]:
        chunks = self.table.column(column).chunks
        # One record batch is one chunk, which NumPy shows without a copy.
        return chunks[0].to_numpy() if len(chunks) == 1 else np.empty(0, np.int32)

    def value(self, row: int, column: str) -> Any:
        """One cell, as a Python object."""
        return self.table.column(column)[int(row)].as_py()

    def resolve(self, path: str) -> str:
        """Where the file of a listed path lies."""
        return os.path.join(self.root, path)  # noqa: PTH118 - called per clip: a string, and fast

    def clip(self, row: int) -> Clip:
        """A row as what is needed to read it; ``path`` is complete."""
        cells = {name: self.value(row, name) for name in Clip._fields[1:]}
        cells["path"] = self.resolve(cells["path"])
        for name in ("offsets", "sizes"):
            cells[name] = tuple(cells[name])
        return Clip(row=int(row), **cells)

    def kinds(self) -> list[Kind]:
        """Kinds of usable clips, the most frequent first."""
        return self._kinds

    def problems(self, limit: int | None = None) -> list[tuple[int, str, str]]:
        """The unusable rows: (line in the list, path, why), or the first few of them."""
        rows = self.table.filter(pc.field("frames") == 0).slice(0, limit)
        paths = zip(rows["path"].to_pylist(), rows["member"].to_pylist(), strict=True)
        names = [f"{path}: {member}" if member else path for path, member in paths]
        columns = rows["line"].to_pylist(), names, rows["problem"].to_pylist()
        return list(zip(*columns, strict=True))

    def check_usable(self) -> None:
        """Refuse a list of which no row is usable.

        Raises:
            UserError: None is; says why the first one is not.
        """
        if not len(self.usable):
            line, path, why = self.problems(1)[0]
            raise UserError(
                f"{self.list_path}: none of its {len(self)} videos is usable, the first one "
                f"(line {line}, {path}): {why}; correct the paths or data.root"
            )

    def digest(self) -> str:
        """Checksum of what sampling depends on; equal on processes that may train together."""
        return self._digest


def usable_rows(frames: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Rows with frames, rising, in little memory: blocks, not one array of 64-bit numbers."""
    block = 1 << 20
    found = [
        (np.flatnonzero(frames[start : start + block]) + start).astype(np.int32)
        for start in range(0, len(frames), block)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int32)


def is_manifest(path: str | Path) -> bool:
    """Whether a file is an Arrow IPC file, rather than a text list."""
    try:
        with Path(path).open("rb") as file:
            return file.read(6) == b"ARROW1"
    except OSError:
        return False
