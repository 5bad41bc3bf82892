"""Whether files are still the ones that were indexed: nothing else may reach a decoder."""

from __future__ import annotations

import os
import stat
import zlib

import numpy as np

from tdn.pipelines.files.frame_folders import FolderError, find_series
from tdn.pipelines.files.shard_reading import read_part
from tdn.pipelines.files.storage import checksum, patiently
from tdn.pipelines.manifests.manifest import Clip


class FileChecks:
    """Checks the files of one manifest.

    Where data were copied to another machine along with their manifest, all times of change differ:
    a file is then compared by its checksum, once.

    Args:
        rows: Of the manifest.
    """

    def __init__(self, rows: int) -> None:
        # For each row, the other time under which its content was the same. Eight bytes, and none
        # of memory before they are written.
        self._times = np.zeros(rows, np.int64)

    def change(self, clip: Clip) -> str:
        """How a clip differs from what was indexed, "" if it does not. From any thread.

        Of a folder of frames that has changed, the names are looked at again. A picture that was
        replaced by another under its name is taken as it is, and so are pictures in a shard.

        Raises:
            OSError: The file cannot be read.
        """
        status = patiently(lambda: os.stat(clip.path))  # noqa: PTH116 - called for every clip
        if clip.is_pictures:
            return self._change_of_folder(clip, status.st_mtime_ns) if clip.template else ""
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file any more"
        if not clip.offsets and status.st_size != clip.size:
            return f"has {status.st_size} bytes, but {clip.size} when it was indexed"
        if status.st_mtime_ns in (clip.mtime, self._times[clip.row]):
            return ""
        if content_changed(clip):
            return "is another file than the one that was indexed"
        self._times[clip.row] = status.st_mtime_ns
        return ""

    def _change_of_folder(self, clip: Clip, time: int) -> str:
        if time in (clip.mtime, self._times[clip.row]):
            return ""
        names = patiently(lambda: os.listdir(clip.path))  # noqa: PTH208 - names are enough
        try:
            series = find_series(names, clip.template)
        except FolderError as error:
            return str(error)
        if (series.first, series.frames) != (clip.first, clip.frames):
            return "holds other frames than when it was indexed"
        self._times[clip.row] = time
        return ""


def content_changed(clip: Clip) -> bool:
    """Whether a video has another checksum than when it was indexed; reads it as a whole.

    Raises:
        OSError: The file cannot be read.
    """
    if clip.offsets:
        part = patiently(lambda: read_part(clip.path, clip.offsets[0], clip.sizes[0]))
        return zlib.crc32(part) != clip.checksum
    return patiently(lambda: checksum(clip.path)) != clip.checksum
