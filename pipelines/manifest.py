"""The manifest: what every file of a list holds, checked once and kept in one file.

An Arrow IPC file with one record per row of the list, unusable rows included, so that a row number
means the same in both. It is memory-mapped: opening it does not depend on its length, and processes
on one machine share its pages. ``pyarrow.feather.read_table`` and pandas read it too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tdn.errors import UserError

_FORMAT = b"1"
_SCHEMA = pa.schema(
    [
        ("path", pa.large_string()),
        ("label", pa.int32()),
        ("line", pa.int64()),
        ("frames", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
        ("codec", pa.large_string()),
        ("pixel_format", pa.large_string()),
        ("size", pa.int64()),
        ("mtime", pa.int64()),
        ("problem", pa.large_string()),
    ]
)


class Clip(NamedTuple):
    """One usable row: everything needed to read frames from its file."""

    row: int
    path: str
    label: int
    frames: int
    width: int
    height: int
    rotation: int
    codec: str
    pixel_format: str
    size: int


class Manifest:
    """A read-only view of a manifest file.

    Attributes:
        file: The manifest's own path.
        list_path: The list it was made from.
        root: Folder that relative paths are relative to.
        labels: (rows,) int32 label of every row.
        frames: (rows,) int32 frame count of every row, 0 for unusable ones.
        usable: (usable rows,) int64 row numbers of the usable files, rising.
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
        if metadata.get(b"tdn.format") != _FORMAT or table.schema.names != _SCHEMA.names:
            raise UserError(
                f"{file}: is a manifest of another version; delete it and run 'tdn index' again"
            )
        self._table = table
        self.list_path = Path(metadata[b"tdn.list"].decode())
        self.root = Path(metadata[b"tdn.root"].decode())
        self.labels: npt.NDArray[np.int32] = self._numbers("label")
        self.frames: npt.NDArray[np.int32] = self._numbers("frames")
        self.usable = np.flatnonzero(self.frames)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _numbers(self, column: str) -> npt.NDArray[Any]:
        chunks = self._table.column(column).chunks
        # One record batch is one chunk, which NumPy shows without a copy.
        return chunks[0].to_numpy() if len(chunks) == 1 else np.empty(0, np.int32)

    def value(self, row: int, column: str) -> Any:
        """One cell, as a Python object."""
        return self._table.column(column)[int(row)].as_py()

    def column(self, name: str) -> list[Any]:
        """A whole column, as Python objects."""
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def resolve(self, path: str) -> str:
        """Where the file of a listed path lies."""
        return os.path.join(self.root, path)  # noqa: PTH118 - called per clip: a string, and fast

    def clip(self, row: int) -> Clip:
        """A row as what is needed to read it; ``path`` is complete."""
        values = [self.value(row, name) for name in Clip._fields[1:]]
        return Clip(int(row), self.resolve(values[0]), *values[1:])

    def kinds(self) -> list[tuple[str, str, int, int, int]]:
        """Kinds of usable files: (codec, pixel format, rotation, short side, how many)."""
        keys = ["codec", "pixel_format", "rotation", "side"]
        usable = self._table.filter(pc.field("frames") > 0)
        side = pc.min_element_wise(usable.column("width"), usable.column("height"))
        usable = usable.append_column("side", side)
        counts = (
            usable.group_by(keys)
            .aggregate([([], "count_all")])
            .sort_by([("count_all", "descending"), ("codec", "ascending")])
        )
        return [tuple(row[name] for name in (*keys, "count_all")) for row in counts.to_pylist()]

    def problems(self) -> list[tuple[int, str, str]]:
        """The unusable rows: (line in the list, path, why)."""
        rows = np.flatnonzero(self.frames == 0).tolist()
        columns = ([self.value(row, name) for row in rows] for name in ("line", "path", "problem"))
        return list(zip(*columns, strict=True))

    def digest(self) -> str:
        """Checksum of what sampling depends on; equal on processes that may train together."""
        digest = hashlib.sha256("\n".join(self.column("path")).encode())
        digest.update(self.labels.tobytes())
        digest.update(self.frames.tobytes())
        return digest.hexdigest()


def is_manifest(path: str | Path) -> bool:
    """Whether a file is an Arrow IPC file, rather than a text list."""
    try:
        with Path(path).open("rb") as file:
            return file.read(6) == b"ARROW1"
    except OSError:
        return False


def write_manifest(
    file: str | Path, columns: dict[str, list[Any]], list_path: Path, root: Path
) -> None:
    """Write a manifest atomically: readers see the old file or the whole new one.

    A file that already holds just this is left alone.

    Args:
        file: Where to.
        columns: One list per column of the schema, all equally long.
        list_path: The list that the rows come from.
        root: Folder that the paths are relative to.

    Raises:
        UserError: The file cannot be written.
    """
    metadata = {
        b"tdn.format": _FORMAT,
        b"tdn.list": str(list_path.absolute()).encode(),
        b"tdn.root": str(root.absolute()).encode(),
    }
    schema = _SCHEMA.with_metadata(metadata)
    batch = pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema)
    file = Path(file)
    if len(os.fsencode(file.name)) > 200:
        raise UserError(f"{file.name[:60]}...: is too long a file name; choose another")
    if _holds(file, batch):
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; choose another") from None
    try:
        with os.fdopen(handle, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(batch)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp's files are private
        Path(temporary).replace(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}; choose another") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _holds(file: Path, batch: pa.RecordBatch) -> bool:
    try:
        with pa.memory_map(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
            return bool(table.equals(pa.Table.from_batches([batch]), check_metadata=True))
    except (pa.ArrowInvalid, OSError):
        return False
