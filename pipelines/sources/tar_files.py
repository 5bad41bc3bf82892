"""Reading the headers of a tar file: where the files in it lie."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tdn.errors import UserError


class TarPart(NamedTuple):
    """A file in a tar file."""

    name: str
    """In one line; without "./" before it."""
    offset: int
    """Where its bytes start."""
    size: int
    content: bytes
    """Its bytes, if they were asked for; else none."""


def read_tar(file: str, endings: tuple[str, ...], read: tuple[str, ...]) -> Iterator[TarPart]:
    """List files of a tar file, in order; hidden ones do not count.

    Args:
        file: The tar file.
        endings: Of the files to list, in lower case.
        read: Of those whose content is to be read.

    Raises:
        UserError: It is no tar file, compressed or cut off, or one of the files is there twice or
            not stored as a whole.
    """
    try:
        with Path(file).open("rb") as opened:
            yield from _parts(file, opened, endings, read)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _parts(
    file: str, opened: IO[bytes], endings: tuple[str, ...], read: tuple[str, ...]
) -> Iterator[TarPart]:
    known: set[str] = set()
    for info in _headers(file, opened):
        name = _shown(os.path.normpath(info.name))
        hidden = os.path.basename(name).startswith(".")  # noqa: PTH119
        if info.isdir() or hidden or not name.lower().endswith(endings):
            continue
        if not info.isreg() or info.issparse():
            raise UserError(
                f"{file}: {name} is not stored as a whole file; pack it with 'tar --dereference "
                "--hard-dereference', without --sparse"
            )
        if name in known:
            raise UserError(f"{file}: holds {name} twice; give every sample a key of its own")
        known.add(name)
        content = b""
        if name.lower().endswith(read):
            opened.seek(info.offset_data)
            content = opened.read(info.size)
        yield TarPart(name, info.offset_data, info.size, content)


def _headers(file: str, opened: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    try:
        tar = tarfile.open(fileobj=opened, mode="r:")  # noqa: SIM115 - holds nothing but `opened`
    except (tarfile.TarError, ValueError) as error:
        cause = _shown(str(error))
        raise UserError(
            f"{file}: is not an uncompressed tar file ({cause}); unpack it, or pack it again"
        ) from None
    try:
        yield from tar
    except (tarfile.TarError, ValueError):
        end = b""
    else:
        # What follows the last header that tarfile could read must be the archive's end.
        opened.seek(tar.offset)
        end = opened.read(tarfile.BLOCKSIZE)
    if end != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{file}: is damaged or cut off at byte {tar.offset}; get or pack it again")


def _shown(name: str) -> str:
    """A name in one line of UTF-8."""
    return " ".join(name.encode("utf-8", "replace").decode().split())
