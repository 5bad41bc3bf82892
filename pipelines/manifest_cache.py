"""The manifest of a list, made or brought up to date when it is asked for."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.indexing import index_list
from tdn.pipelines.manifest import Manifest, is_manifest

_log = logging.getLogger(__name__)


def manifest_of(list_path: str | Path, root: str | Path = "", *, progress: bool = True) -> Manifest:
    """Open a manifest, or index a list, whose manifest is cached and brought up to date.

    Args:
        list_path: A list file, or a manifest that ``tdn index`` wrote.
        root: Folder that the list's paths are relative to; empty for the list's own, or for the
            one that the manifest was made with.
        progress: Whether indexing shows a progress bar.

    Raises:
        UserError: The list or the manifest cannot be used.
    """
    list_path = Path(list_path)
    if is_manifest(list_path):
        manifest = Manifest(list_path)
        if root:
            manifest.root = Path(root).absolute()
        return manifest
    cache = cache_path(list_path, root)
    # Processes that start together wait here for the first, then find everything unchanged.
    with _locked(cache):
        report = index_list(list_path, cache, root=root or None, progress=progress)
    if report.read or report.manifest.problems():
        _log.info("%s", report)
    return report.manifest


def cache_path(list_path: Path, root: str | Path) -> Path:
    """Where a list's manifest is cached: one file per list and root.

    ``$TDN_CACHE``, else ``$XDG_CACHE_HOME/tdn``, else ``~/.cache/tdn``: the folder of the list may
    not be writable, and need not be littered.
    """
    base = os.environ.get("TDN_CACHE")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = str(Path(home) / "tdn")
    key = f"{list_path.absolute()}\n{Path(root).absolute() if root else ''}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Path(base) / "manifests" / f"{list_path.stem[:40]}-{digest}.arrow"


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
    with lock_file as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        yield
