"""List files: which video has which label, in the released code's formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError


class ListEntry(NamedTuple):
    """One line of a list."""

    path: str
    """As written; relative paths are relative to the data root."""
    label: int
    line: int
    """Line number in the file, from 1."""


# "path label" or "path frames label". The path may hold spaces; a whole number before the label is
# the frame count, which is counted again from the file and so not kept.
_LINE = re.compile(r"(?P<path>\S.*?)(?:\s+[0-9]+)?\s+(?P<label>[0-9]{1,9})")


def read_list(path: str | Path) -> list[ListEntry]:
    """Read a list file. Its rows are its non-blank lines, in order.

    Args:
        path: Text file; every line is ``path label`` or ``path frames label``.

    Returns:
        One entry per row.

    Raises:
        UserError: The file cannot be read or is empty, or a line has another form.
    """
    entries: list[ListEntry] = []
    for number, line in enumerate(_read_text(Path(path)).split("\n"), start=1):
        text = line.strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None or "\0" in text:
            shown = " ".join(text.split())  # in one line, whatever splits it
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise UserError(
                f"{path}:{number}: '{shown}' is not 'path label' or 'path frames label' "
                "with a label from 0 to 999999999; correct the line"
            )
        entries.append(ListEntry(match["path"], int(match["label"]), number))
    if not entries:
        raise UserError(f"{path}: the list is empty; give a line 'path label' for each video")
    return entries


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such list file; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give a list file of 'path label' lines") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file; give a list of 'path label' lines") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
