"""Clips that an earlier run probed, and which of them are still what they were.

Columns instead of objects: a list may have millions of rows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tdn.errors import UserError
from tdn.pipelines.indexing.journal import Journal
from tdn.pipelines.indexing.probe import Probe, Request
from tdn.pipelines.manifests.manifest import SCHEMA, Manifest, is_manifest

_THREADS = 16
"""Files asked for their state at once: on a network file system each waits for an answer."""
_CHUNK = 1024

_TYPES = {
    field.name: pa.string() if pa.types.is_dictionary(field.type) else field.type
    for field in SCHEMA
    if field.name in Probe._fields
}


def clip_key(request: Request) -> str:
    """What tells a clip from all others: its path, and in a shard its place there."""
    return f"{request.path}\0{request.offsets[0]}" if request.offsets else request.path


@dataclass(frozen=True)
class KnownClips:
    """Probes of clips, as columns."""

    keys: pa.Array
    columns: dict[str, pa.Array]
    """By name of ``Probe``'s fields."""

    @classmethod
    def of(cls, keys: Sequence[str], probes: Sequence[Probe]) -> KnownClips:
        """From objects."""
        values = list(zip(*probes, strict=True)) or [()] * len(Probe._fields)
        columns = {
            name: pa.array(column, _TYPES[name])
            for name, column in zip(Probe._fields, values, strict=True)
        }
        return cls(pa.array(keys, pa.large_string()), columns)

    def __len__(self) -> int:
        return len(self.keys)

    def extended(self, other: KnownClips) -> KnownClips:
        """These and others."""
        columns = {
            name: pa.concat_arrays([column, other.columns[name]])
            for name, column in self.columns.items()
        }
        return KnownClips(pa.concat_arrays([self.keys, other.keys]), columns)

    def take(self, rows: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
        """The columns of these rows, in this order."""
        return {name: column.take(pa.array(rows)) for name, column in self.columns.items()}

    def unchanged(self, requests: Sequence[Request], keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Where each request is among the known clips, -1 where it is new or has changed.

        A usable clip counts as new as well if it is now to be decoded and was not.
        """
        found = pc.index_in(pa.array(keys, pa.large_string()), value_set=self.keys)
        matches = found.fill_null(-1).to_numpy().astype(np.int64)
        rows = np.flatnonzero(matches >= 0)
        if not len(rows):
            return matches
        # Clips of a shard follow each other and share its state.
        files = {requests[row].path: 0 for row in rows.tolist()}
        sizes, times = _states(list(files))
        files.update(zip(files, range(len(files)), strict=True))
        which = np.array([files[requests[row].path] for row in rows.tolist()])
        known = matches[rows]
        known_sizes, known_times = (self.columns[n].to_numpy()[known] for n in ("size", "mtime"))
        in_shard = np.array([bool(requests[row].offsets) for row in rows.tolist()])
        same_size = in_shard | (sizes[which] < 0) | (sizes[which] == known_sizes)
        same = same_size & (times[which] == known_times) & (known_times != 0)
        if requests[0].thorough:
            done = pc.or_(self.columns["decoded"], pc.equal(self.columns["frames"], 0))
            same &= done.to_numpy(zero_copy_only=False)[known]
        matches[rows[~same]] = -1
        return matches


def _states(paths: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sizes (-1 for folders) and times of change of files; times are 0 where there is nothing."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        states = np.concatenate(list(pool.map(_chunk_states, chunks)))
    return states[:, 0], states[:, 1]


def _chunk_states(paths: Sequence[str]) -> npt.NDArray[np.int64]:
    states = np.zeros((len(paths), 2), np.int64)
    for number, path in enumerate(paths):
        try:
            status = os.stat(path)  # noqa: PTH116 - called for each of millions
        except OSError:
            continue
        folder = stat.S_ISDIR(status.st_mode)
        states[number] = -1 if folder else status.st_size, status.st_mtime_ns
    return states


def read_known(output: Path, template: str, journal: Journal) -> KnownClips:
    """What an earlier run wrote to a manifest, and an interrupted one to its journal.

    Raises:
        UserError: The output is there and is no manifest.
    """
    probes = journal.read()
    noted = KnownClips.of(list(probes), list(probes.values()))
    if not output.exists():
        return noted
    if not is_manifest(output):
        raise UserError(f"{output}: exists and is not a manifest; choose another output")
    try:
        manifest = Manifest(output)
    except UserError:  # of another version, or damaged: to be written anew
        return noted
    if manifest.template != template:
        return noted
    table = manifest.table.combine_chunks()
    paths = (manifest.resolve(path) for path in table["path"].to_pylist())
    starts = pc.list_element(_padded(table["offsets"]), 0).to_pylist()
    keys = [
        path if start < 0 else f"{path}\0{start}" for path, start in zip(paths, starts, strict=True)
    ]
    columns = {name: table[name].cast(_TYPES[name]).combine_chunks() for name in Probe._fields}
    # Of a clip that both know, the later word counts: index_in finds the first.
    return noted.extended(KnownClips(pa.array(keys, pa.large_string()), columns))


def _padded(offsets: pa.ChunkedArray) -> pa.Array:
    """Lists of which each has an element: -1 where there was none."""
    lists = offsets.combine_chunks()
    empty = pc.equal(pc.list_value_length(lists), 0)
    return pc.if_else(empty, pa.scalar([-1], lists.type), lists)
