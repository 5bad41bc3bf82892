"""The manifest of a list, made or brought up to date when it is asked for."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.files.locks import lock
from tdn.pipelines.indexing.run import IndexReport, index_list
from tdn.pipelines.manifests.manifest import Manifest, is_manifest

_log = logging.getLogger(__name__)


def manifest_of(
    source: str | Path,
    root: str | Path = "",
    *,
    classes: Sequence[str] = (),
    template: str = "",
    progress: bool = True,
) -> Manifest:
    """Open a manifest, or index a data set, whose manifest is cached and brought up to date.

    Args:
        source: A manifest that ``tdn index`` wrote, or a list, folder or tar shards as
            ``sources.reading.read_listing`` takes them.
        root: Folder that the list's paths are relative to; empty for the list's own, or for the
            one that the manifest was made with.
        classes: Class names by label, where the source gives names.
        template: Format of picture names in folders of frames; by default it is found out.
        progress: Whether indexing shows a progress bar.

    Raises:
        UserError: The data set or the manifest cannot be used.
    """
    if is_manifest(source):
        return _given_manifest(Path(source), root, tuple(classes), template)
    cache = cache_path(source, root, classes, template)
    began = time.time()
    # Processes that start together wait here for the first, and then take what it has just made.
    with _locked(cache):
        if cache.exists() and cache.stat().st_mtime > began:
            # Told again, as the first process may be one whose news are not shown.
            made = Manifest(cache)
            report = IndexReport(made, 0, len(made), listed=Path(source).is_file())
        else:
            report = index_list(
                source,
                cache,
                root=root or None,
                classes=classes,
                template=template,
                progress=progress,
            )
            os.utime(cache, (time.time(), time.time()))  # by this machine's clock
    if report.read or len(report.manifest) > len(report.manifest.usable):
        _log.info("%s", report)
    return report.manifest


def _given_manifest(
    file: Path, root: str | Path, classes: tuple[str, ...], template: str
) -> Manifest:
    """A manifest that was made beforehand; what it was made with cannot be changed any more."""
    manifest = Manifest(file)
    if root:
        manifest.root = Path(root).absolute()
    if classes and manifest.classes not in ((), classes):
        raise UserError(
            f"{file}: was made with other class names than data.classes has; make it again with "
            "'tdn index --classes'"
        )
    if template:
        found = set(manifest.table["template"].unique().to_pylist()) - {"", template}
        if found:
            raise UserError(
                f"{file}: has frames named like {min(found)}, not {template}; make it again with "
                "'tdn index --frame-template'"
            )
    return manifest


def cache_path(
    source: str | Path, root: str | Path = "", classes: Sequence[str] = (), template: str = ""
) -> Path:
    """Where a data set's manifest is cached: one file per list and way of reading it.

    ``$TDN_CACHE``, else ``$XDG_CACHE_HOME/tdn``, else ``~/.cache/tdn``: the folder of the list may
    not be writable, and need not be littered.
    """
    base = os.environ.get("TDN_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = str(Path(home) / "tdn")
    where = [Path(source).absolute(), Path(root).absolute() if root else ""]
    digest = hashlib.sha256(
        "\n".join(map(str, [*where, template, *classes])).encode(errors="surrogateescape")
    )
    name = f"{Path(source).stem[:40]}-{digest.hexdigest()[:16]}.arrow"
    return Path(base) / "manifests" / name.replace("*", "_").replace("?", "_")


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock_file = cache.with_suffix(".lock").open("w")
    except OSError as error:
        raise UserError(
            f"{cache.parent}: manifests cannot be cached there ({error.strerror}); set TDN_CACHE "
            "to a folder that can be written"
        ) from None
    with lock_file:
        lock(lock_file, wait=True)
        yield
