"""Writing a manifest, with the summaries that make opening one independent of its length."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tdn.errors import UserError
from tdn.files import write_atomically
from tdn.pipelines.files.frame_folders import PICTURE_CODECS
from tdn.pipelines.manifests.manifest import FORMAT, SCHEMA, Kind, usable_rows


def write_manifest(
    file: str | Path,
    columns: Mapping[str, Any],
    list_path: str | Path,
    root: Path,
    classes: Sequence[str] = (),
    template: str = "",
) -> None:
    """Write a manifest atomically: readers see the old file or the whole new one.

    A file that already holds just this is left alone.

    Args:
        file: Where to.
        columns: One list or Arrow array per column of ``manifest.SCHEMA``, all equally long;
            columns of words that are left out are empty, of numbers zero, of truths false.
        list_path: The list that the rows come from.
        root: Folder that the paths are relative to.
        classes: Names of the labels.
        template: Format of picture names that was asked for.

    Raises:
        UserError: The file cannot be written.
    """
    file = Path(file)
    check_name(file)
    rows = len(columns["path"])
    arrays = [_array(columns, field, rows) for field in SCHEMA]
    batch = pa.record_batch(arrays, schema=SCHEMA)
    metadata = {
        b"tdn.format": FORMAT,
        b"tdn.list": os.path.abspath(list_path).encode(),  # noqa: PTH100 - may be a pattern
        b"tdn.root": str(root.absolute()).encode(),
        b"tdn.summary": json.dumps(_summary(batch, classes, template)).encode(),
    }
    batch = batch.replace_schema_metadata(metadata)
    if not _holds(file, batch):
        write_atomically(file, lambda opened: _put(opened, batch))


def check_name(file: Path) -> None:
    """Refuse names that leave no room for those of files beside a manifest.

    Raises:
        UserError: It is too long.
    """
    if len(os.fsencode(file.name)) > 200:
        raise UserError(f"{file.name[:60]}...: is too long a file name; choose another")


def _array(columns: Mapping[str, Any], field: pa.Field, rows: int) -> pa.Array:
    values = columns.get(field.name)
    if isinstance(values, pa.Array):
        return _as_type(values, field.type)
    if values is None:
        number = pa.types.is_integer(field.type)
        lists = pa.types.is_large_list(field.type)
        truth = pa.types.is_boolean(field.type)
        values = [0 if number else [] if lists else False if truth else ""] * rows
    return pa.array(values, field.type)


def _as_type(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(wanted):
        values = values.dictionary_encode()
    return values.cast(wanted)


def _summary(batch: pa.RecordBatch, classes: Sequence[str], template: str) -> dict[str, Any]:
    frames = batch.column("frames").to_numpy()
    usable = usable_rows(frames)
    return {
        "classes": list(classes),
        "template": template,
        "digest": _digest(batch),
        "kinds": _kinds(batch),
        "shards": _shards(batch, usable),
    }


def _digest(batch: pa.RecordBatch) -> str:
    digest = hashlib.sha256()
    for name in ("path", "member"):
        column = batch.column(name)
        _, offsets, text = column.buffers()
        ends = np.frombuffer(offsets, np.int64)[column.offset :][: len(column) + 1]
        digest.update(ends - ends[0])
        if text is not None:
            digest.update(text.slice(ends[0], ends[-1] - ends[0]))
    for name in ("label", "frames"):
        digest.update(batch.column(name).to_numpy())
    return digest.hexdigest()


def _kinds(batch: pa.RecordBatch) -> list[Kind]:
    usable = pa.Table.from_batches([batch]).filter(pc.field("frames") > 0)
    width, height = usable["width"].cast(pa.int64()), usable["height"].cast(pa.int64())
    table = pa.table(
        {
            "codec": usable["codec"].cast(pa.string()),
            "pixel_format": usable["pixel_format"].cast(pa.string()),
            "rotation": usable["rotation"],
            "side": pc.min_element_wise(width, height),
            "in_shards": pc.greater(pc.list_value_length(usable["offsets"]), 0),
            "plain": usable["plain"],
            "pixels": pc.multiply(width, height),
        }
    )
    keys = ["codec", "pixel_format", "rotation", "side", "in_shards", "plain"]
    counts = table.group_by(keys).aggregate([([], "count_all"), ("pixels", "max")])
    counts = counts.sort_by([("count_all", "descending"), ("codec", "ascending")])
    return [
        Kind(
            row["codec"],
            row["pixel_format"],
            row["rotation"],
            row["side"],
            row["in_shards"],
            row["plain"],
            pictures=row["codec"] in PICTURE_CODECS,
            clips=row["count_all"],
            pixels=row["pixels_max"],
        )
        for row in counts.to_pylist()
    ]


def _shards(batch: pa.RecordBatch, usable: Any) -> list[int]:
    """Positions where a shard's usable clips start, and the end; empty without shards."""
    in_shards = pc.list_value_length(batch.column("offsets")).to_numpy() > 0
    if not len(usable) or not in_shards[usable].all():
        return []
    runs = pc.run_end_encode(batch.column("path"), run_end_type=pa.int64())
    ends = runs.run_ends.to_numpy()
    starts = np.searchsorted(usable, np.concatenate([[0], ends]))
    return [int(start) for start in np.unique(starts)]


def _holds(file: Path, batch: pa.RecordBatch) -> bool:
    try:
        with pa.memory_map(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
            return bool(table.equals(pa.Table.from_batches([batch]), check_metadata=True))
    except (pa.ArrowInvalid, OSError):
        return False


def _put(file: IO[bytes], batch: pa.RecordBatch) -> None:
    with pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
