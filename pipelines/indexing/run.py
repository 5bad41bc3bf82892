"""Making a manifest from a list: probe what is new or changed, in parallel; keep the rest.

What was found goes to a journal beside the manifest at once, so that an interrupted run goes on
where it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tqdm import tqdm

from tdn.errors import UserError
from tdn.machine import usable_cores
from tdn.pipelines.files.frame_folders import is_template
from tdn.pipelines.indexing.journal import Journal
from tdn.pipelines.indexing.known_clips import KnownClips, clip_key, read_known
from tdn.pipelines.indexing.probe import Probe, Request
from tdn.pipelines.indexing.probe_workers import probe_clips
from tdn.pipelines.manifests.manifest import Manifest, is_manifest
from tdn.pipelines.manifests.writing import check_name, write_manifest
from tdn.pipelines.sources.listing import Listing, is_storable
from tdn.pipelines.sources.reading import read_listing


class IndexReport(NamedTuple):
    """What indexing did; its text is what ``tdn index`` prints."""

    manifest: Manifest
    read: int
    """Clips that were new or changed."""
    kept: int
    """Rows that had not changed since the last run, or that an interrupted one had read."""
    listed: bool = True
    """Whether the rows are lines of a list."""

    def __str__(self) -> str:
        manifest = self.manifest
        codecs: Counter[str] = Counter()
        for kind in manifest.kinds():
            codecs[kind.codec] += kind.clips
        found = ", ".join(f"{count} {codec}" for codec, count in codecs.most_common()) or "none"
        lines = [
            f"{manifest.list_path}: {len(manifest.usable)} of {len(manifest)} videos usable "
            f"({found}); {self.read} read, {self.kept} unchanged"
        ]
        unusable, shown = len(manifest) - len(manifest.usable), 20
        lines += [
            f"  left out{f', line {line}' if self.listed else ''}: {path}: {why}"
            for line, path, why in manifest.problems(shown)
        ]
        if unusable > shown:
            lines.append(f"  ... and {unusable - shown} more, all in the manifest")
        return "\n".join(lines)


def index_list(
    source: str | Path | Listing,
    output: str | Path,
    *,
    root: str | Path | None = None,
    classes: Sequence[str] = (),
    template: str = "",
    decode: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> IndexReport:
    """Check and count every clip of a data set and write the manifest.

    Args:
        source: A list, a folder with a folder per class, or tar shards (``read_listing``); or the
            rows themselves, with a folder to be called by.
        output: Manifest to write. One that is there already is brought up to date: only clips whose
            file or folder has another size or time of change are read again.
        root: Folder that the list's paths are relative to; by default the list's own.
        classes: Class names by label, where the source gives names.
        template: Format of pictures' names where frames are pictures; by default it is found out.
        decode: Whether to decode every frame, which finds all that cannot be decoded; it takes some
            ten times as long. Otherwise a frame of every second is decoded.
        workers: Processes; by default one per CPU core of this process.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The list is malformed, or the output is something else or cannot be written, or
            another process is writing it.
    """
    output = Path(output)
    check_name(output)
    if template and not is_template(template):
        raise UserError(
            f"frame template '{template}': is not a name with one number; give one such as "
            "img_{:05d}.jpg"
        )
    if isinstance(source, Listing):
        listing, source = source, source.root
    elif is_manifest(source):
        raise UserError(f"{source}: is a manifest; give the list that it is made from")
    else:
        listing = read_listing(source, classes, template)
    folder = _folder(source, listing, root)
    requests = _requests(listing, folder, template, decode)
    keys = [clip_key(request) for request in requests]
    journal = Journal(output, template)
    known = read_known(output, template, journal)
    matches = known.unchanged(requests, keys)
    new = list(dict.fromkeys(key for key, match in zip(keys, matches, strict=True) if match < 0))
    rows = {key: len(known) + number for number, key in enumerate(new)}
    where = np.array(
        [rows[key] if match < 0 else match for key, match in zip(keys, matches, strict=True)]
    )
    with _noting(journal, new) as note:
        found = _probe(new, dict(zip(keys, requests, strict=True)), note, workers, progress)
        columns = known.extended(found).take(where) | _listed(listing)
        write_manifest(output, columns, source, folder, listing.classes, template)
        journal.remove()
    kept = int((matches >= 0).sum())
    return IndexReport(Manifest(output), len(new), kept, listed=not listing.found)


def _folder(source: str | Path, listing: Listing, root: str | Path | None) -> Path:
    """The folder that paths are relative to."""
    folder = Path(listing.root if listing.found else root or listing.root).absolute()
    odd = next((path for path in (str(source), str(folder)) if not is_storable(path)), None)
    if odd is not None:
        raise UserError(f"{odd!a}: is no name in UTF-8; rename it")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct the root that paths are relative to")
    return folder


@contextmanager
def _noting(journal: Journal, new: Sequence[str]) -> Iterator[Callable[[str, Probe], None]]:
    """The journal's, until the manifest is written; where nothing is to be probed, none."""
    if not new:
        yield lambda _key, _probe: None
        return
    with journal.opened() as note:
        yield note


def _requests(listing: Listing, folder: Path, template: str, decode: bool) -> list[Request]:
    paths = [os.path.join(folder, path) for path in listing.paths]  # noqa: PTH118 - millions
    if not listing.members:
        return [Request(path, template=template, thorough=decode) for path in paths]
    return [
        Request(
            path,
            tuple(member.offsets),
            tuple(member.sizes),
            member.pictures,
            thorough=decode,
            problem=member.problem,
        )
        for path, member in zip(paths, listing.members, strict=True)
    ]


def _probe(
    keys: Sequence[str],
    requests: dict[str, Request],
    note: Callable[[str, Probe], None],
    workers: int | None,
    progress: bool,
) -> KnownClips:
    shown = None if progress and keys else True  # None: on a terminal
    with tqdm(total=len(keys), desc="index", unit="clip", disable=shown) as bar:

        def done(number: int, probe: Probe) -> None:
            note(keys[number], probe)
            bar.update()

        probes = probe_clips([requests[key] for key in keys], workers or usable_cores(), done)
    return KnownClips.of(list(keys), probes)


def _listed(listing: Listing) -> dict[str, pa.Array | list[str] | npt.NDArray[np.int64]]:
    """The manifest's columns that come from the list."""
    columns: dict[str, pa.Array | list[str] | npt.NDArray[np.int64]] = {
        "path": listing.paths,
        "label": np.array(listing.labels),
        "line": np.array(listing.lines),
    }
    if listing.members:
        members = listing.members
        columns["member"] = [member.name for member in members]
        columns["offsets"] = pa.array([m.offsets for m in members], pa.large_list(pa.int64()))
        columns["sizes"] = pa.array([m.sizes for m in members], pa.large_list(pa.int64()))
    return columns
