"""Text lists: a line names a video or a folder of frames, and its label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.sources.listing import Listing, is_storable, numbered, read_text

# "path label" or "path frames label". The path may hold spaces; a whole number before the label is
# the frame count, which is counted again from the file and so not kept.
_LINE = re.compile(r"(?P<path>\S.*?)(?:\s+[0-9]+)?\s+(?P<label>[0-9]{1,9})")


def read_text_list(path: Path, classes: Sequence[str] = ()) -> Listing:
    """Read a list in one of the released code's formats. Its rows are its non-blank lines.

    Args:
        path: Text file; every line is ``path label`` or ``path frames label``.
        classes: Class names by label, to be remembered.

    Raises:
        UserError: The file cannot be read or is empty, a line has another form, or a label has no
            name among those given.
    """
    listing, labels = Listing(path.parent, [], [], []), []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        text = line.strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None or not is_storable(text):
            shown = " ".join(text.split())  # in one line, whatever splits it
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise UserError(
                f"{path}:{number}: '{shown}' is not 'path label' or 'path frames label' "
                "with a label from 0 to 999999999; correct the line"
            )
        listing.paths.append(match["path"])
        listing.lines.append(number)
        labels.append(match["label"])
    if not listing.paths:
        raise UserError(f"{path}: the list is empty; give a line 'path label' for each video")
    listing.labels, listing.classes = numbered(
        labels, lambda row: f"{path}:{listing.lines[row]}", classes
    )
    return listing


def is_line(text: str) -> bool:
    """Whether a line is one of a text list."""
    return _LINE.fullmatch(text.strip()) is not None
