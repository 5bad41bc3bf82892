"""Making a training copy of a data set: in parallel, going on where an earlier run was."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from tdn.errors import UserError
from tdn.machine import usable_cores
from tdn.pipelines.files.subprocess_workers import Lost, run_tasks
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.transcoding.files import CopyFiles
from tdn.pipelines.transcoding.journal import Journal, Record
from tdn.pipelines.transcoding.making import Job, Made
from tdn.pipelines.transcoding.output import Output
from tdn.pipelines.transcoding.plan import Copy, plan_copies
from tdn.pipelines.transcoding.settings import CopySettings, copy_size
from tdn.pipelines.transcoding.shards import CopyShards

_TASK = "tdn.pipelines.transcoding.making:make_copy"
_TIMEOUT = 120.0
"""Seconds for one frame, after which a worker is taken for hung."""


class CopyReport(NamedTuple):
    """What was made; its text is what ``tdn transcode`` prints."""

    source: str
    """What ``tdn train`` is given: a list, or a pattern of tar shards."""
    manifest: Manifest
    """The originals."""
    rows: list[int]
    """Rows of the manifest that the copy holds, rising."""
    made: int
    """Copies made by this run."""
    problems: list[tuple[int, str, str]]
    """What is left out: (line in the list, path, why)."""
    bytes_before: int
    bytes_after: int
    seconds: float

    def __str__(self) -> str:
        before, after = self.bytes_before / 1e6, self.bytes_after / 1e6
        lines = [
            f"{self.source}: {len(self.rows)} of {len(self.manifest)} clips, {self.made} of them "
            f"made now in {self.seconds:.1f} s; {before:.1f} MB before, {after:.1f} MB after"
        ]
        lines += [f"  left out, line {line}: {path}: {why}" for line, path, why in self.problems]
        return "\n".join(lines)


def transcode(
    source: str | Path,
    folder: str | Path,
    settings: CopySettings,
    *,
    root: str | Path = "",
    classes: Sequence[str] = (),
    template: str = "",
    workers: int | None = None,
    progress: bool = True,
) -> CopyReport:
    """Make a training copy of a data set, or bring it up to date.

    Frame n of a copy is frame n of its original. A copy that is there is made again only where its
    original has another size or time of change.

    Args:
        source: A list, a folder, tar shards or a manifest (``manifest_of``).
        folder: Folder to write to; copies of other lists may be in it, too.
        settings: What the copy is to be like; as in an earlier run to the same folder.
        root: Folder that the list's paths are relative to; by default the list's own.
        classes: Class names by label, where the source gives names.
        template: Format of picture names in folders of frames; by default it is found out.
        workers: Subprocesses; by default one per CPU core of this process.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The source or the settings cannot be used, nothing of the source can be decoded,
            or the output holds something else or cannot be written.
    """
    began = time.monotonic()
    settings.check()
    manifest = manifest_of(source, root, classes=classes, template=template, progress=progress)
    if not len(manifest.usable):
        raise _nothing(manifest, manifest.problems(1))
    output = Output(folder, manifest)
    copies = plan_copies(manifest, once_per_row=bool(settings.shard_clips))
    with output.opened(settings) as journal:
        store = _store(output, settings, copies, len(manifest), journal)
        missing = store.missing()
        jobs = (
            _job(number, copy, manifest, settings, store, output)
            for number, copy in enumerate(missing)
        )
        problems = _make(missing, jobs, store, workers or usable_cores(), progress)
        held = store.complete()
        if not held:
            raise _nothing(manifest, problems)
        output.write_classes(manifest.classes)
    return CopyReport(
        store.source,
        manifest,
        [copy.row for copy, _ in held],
        len(missing) - len(problems),
        sorted(manifest.problems() + problems),
        sum({record.name: record.source_bytes for _, record in held}.values()),
        store.bytes_after(),
        time.monotonic() - began,
    )


def _store(
    output: Output, settings: CopySettings, copies: list[Copy], rows: int, journal: Journal
) -> CopyFiles | CopyShards:
    if settings.shard_clips:
        return CopyShards(output, settings, copies, rows, journal)
    return CopyFiles(output, settings, copies, journal)


def _job(
    number: int,
    copy: Copy,
    manifest: Manifest,
    settings: CopySettings,
    store: CopyFiles | CopyShards,
    output: Output,
) -> Job:
    clip = manifest.clip(copy.row)
    return Job(
        clip,
        copy_size(clip, settings.short_side),
        settings.format,
        settings.gop,
        str(output.temporary / str(number)),
        str(store.target(copy)),
        store.key(copy),
    )


def _make(
    missing: Sequence[Copy],
    jobs: Iterable[Job],
    store: CopyFiles | CopyShards,
    workers: int,
    progress: bool,
) -> list[tuple[int, str, str]]:
    """Make copies in parallel; returns those that could not be made: (line, path, why).

    Raises:
        OSError: A copy could not be written.
    """
    problems = []
    workers = min(workers, len(missing))
    with (
        tqdm(
            total=len(missing),
            desc="transcode",
            unit="clip",
            disable=None if progress and missing else True,
        ) as bar,
        closing(run_tasks(_TASK, jobs, workers, timeout=_TIMEOUT)) as answers,
    ):
        for number, answer in answers:
            copy = missing[number]
            if isinstance(answer, int):
                raise OSError(answer, os.strerror(answer), str(store.target(copy)))
            lost = isinstance(answer, Lost)
            made = Made(problem=f"{answer.cause} the decoder") if lost else answer
            if made.problem:
                problems.append((copy.line, copy.source.path, made.problem))
                store.finished(copy, None)
            else:
                store.finished(copy, Record(copy.name, copy.source, *made[:3]))
            bar.update()
    return problems


def _nothing(manifest: Manifest, problems: Sequence[tuple[int, str, str]]) -> UserError:
    line, path, why = problems[0]
    return UserError(
        f"{manifest.list_path}: none of its {len(manifest)} clips can be copied, the first one "
        f"(line {line}, {path}): {why}; correct the paths or --root"
    )
