"""Making a manifest from a list: probe what is new or changed, in parallel; keep the rest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from tdn.errors import UserError
from tdn.pipelines.lists import ListEntry, read_list
from tdn.pipelines.manifest import Manifest, is_manifest, write_manifest
from tdn.pipelines.probe import Probe
from tdn.pipelines.probe_workers import probe_videos, usable_cores


class IndexReport(NamedTuple):
    """What indexing did; its text is what ``tdn index`` prints."""

    manifest: Manifest
    read: int
    """Files that were new or changed."""
    kept: int
    """Rows whose file had not changed since the last run."""

    def __str__(self) -> str:
        manifest = self.manifest
        codecs: Counter[str] = Counter()
        for codec, _, _, _, count in manifest.kinds():
            codecs[codec] += count
        found = ", ".join(f"{count} {codec}" for codec, count in codecs.most_common()) or "none"
        lines = [
            f"{manifest.list_path}: {len(manifest.usable)} of {len(manifest)} videos usable "
            f"({found}); {self.read} read, {self.kept} unchanged"
        ]
        problems, shown = manifest.problems(), 20
        lines += [f"  left out, line {line}: {path}: {why}" for line, path, why in problems[:shown]]
        if len(problems) > shown:
            lines.append(f"  ... and {len(problems) - shown} more, all in the manifest")
        return "\n".join(lines)


def index_list(
    list_path: str | Path,
    output: str | Path,
    *,
    root: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> IndexReport:
    """Check and count every file of a list and write the manifest.

    Args:
        list_path: List of ``path label`` or ``path frames label`` lines.
        output: Manifest to write. One that is there already is brought up to date: only files whose
            size or time of change differ are read again.
        root: Folder that the list's paths are relative to; by default the list's own.
        workers: Processes; by default one per CPU core of this process.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The list is malformed, or the output is something else or cannot be written.
    """
    list_path, output = Path(list_path), Path(output)
    entries = read_list(list_path)
    folder = (Path(root) if root else list_path.parent).absolute()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct the root that paths are relative to")
    paths = [os.path.join(folder, entry.path) for entry in entries]  # noqa: PTH118 - millions
    known = _known_probes(output)
    kept = {path: known[path] for path in paths if path in known and _unchanged(path, known[path])}
    new = list(dict.fromkeys(path for path in paths if path not in kept))
    with tqdm(
        total=len(new), desc="index", unit="file", disable=None if progress and new else True
    ) as bar:
        found = probe_videos(new, workers or usable_cores(), lambda: bar.update())
    probes = kept | dict(zip(new, found, strict=True))
    write_manifest(output, _columns(entries, [probes[path] for path in paths]), list_path, folder)
    return IndexReport(Manifest(output), len(new), sum(path in kept for path in paths))


def _known_probes(output: Path) -> dict[str, Probe]:
    """What an earlier run found, by complete path; nothing where there was none."""
    if not output.exists():
        return {}
    if not is_manifest(output):
        raise UserError(f"{output}: exists and is not a manifest; choose another output")
    try:
        manifest = Manifest(output)
    except UserError:  # of another version, or damaged: to be written anew
        return {}
    columns = (manifest.column(name) for name in Probe._fields)
    probes = map(Probe._make, zip(*columns, strict=True))
    return dict(zip(map(manifest.resolve, manifest.column("path")), probes, strict=True))


def _unchanged(path: str, known: Probe) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116 - called for each of millions
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (known.size, known.mtime)


def _columns(entries: Sequence[ListEntry], probes: Sequence[Probe]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        name: [getattr(probe, name) for probe in probes] for name in Probe._fields
    }
    for name in ListEntry._fields:
        columns[name] = [getattr(entry, name) for entry in entries]
    return columns
