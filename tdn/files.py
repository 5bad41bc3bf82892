"""Writing files so that each is whole at every moment.

A file is written under another name, forced to the disk and then renamed: a crash or a full disk
leaves the former one in place.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from tdn.errors import UserError


def write_atomically(
    path: Path,
    write: Callable[[IO[bytes]], object],
    remedy: str = "choose another, or make room",
    lasting: bool = True,
) -> None:
    """Replace a file by what ``write`` puts out, or leave it as it is.

    Args:
        path: The file; its folder is made if need be.
        write: Writes to the binary file it is given.
        remedy: What to do where it cannot be written, for the message.
        lasting: Whether to wait until the disk has it; else it may be lost with the machine.

    Raises:
        UserError: The folder cannot be written or is full.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        partial = path.with_name(_PARTIAL.format(path.name[:100], platform.node(), os.getpid()))
        with partial.open("wb") as file:
            write(file)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        partial.replace(path)
        partial = None
        if lasting:
            _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # the name of torch.save's writer; anything else is no fault of the disk
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise UserError(f"{path}: cannot be written ({reason}); {remedy}") from None
    finally:
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def write_text_atomically(
    path: Path,
    text: str,
    remedy: str = "choose another, or make room",
    lasting: bool = True,
) -> None:
    """Replace a file by a text in UTF-8, or leave it as it is; the rest as above."""
    write_atomically(path, lambda file: file.write(text.encode()), remedy, lasting)


def check_not_an_input(output: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over a file that is read, by whatever name.

    Args:
        output: What is to be written.
        inputs: Files, and folders whose files are read.

    Raises:
        UserError: The output is one of the inputs, or a file in one of the folders.
    """
    if not output.exists():
        return
    places = (output, output.parent)
    if any(place.samefile(path) for path in inputs if Path(path).exists() for place in places):
        raise UserError(f"{output}: is read, and would be overwritten; give another name")


_PARTIAL = ".{}.{}-{}.partial"
"""A name of its own for every process that may be writing the same file."""


def _remove_orphans(path: Path) -> None:
    """Delete what processes of this machine left when they were killed while writing the file."""
    head = _PARTIAL.format(path.name[:100], platform.node(), "")[: -len(".partial")]
    for entry in os.scandir(path.parent):
        number = entry.name[len(head) : -len(".partial")]
        ours = entry.name.startswith(head) and entry.name.endswith(".partial")
        if ours and number.isdigit() and not Path(f"/proc/{number}").exists():
            Path(entry.path).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last: it is the folder that records it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
