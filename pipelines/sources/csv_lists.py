"""CSV lists: a header names the columns, one row a video."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.sources.listing import Listing, numbered, read_text
from tdn.pipelines.sources.text_lists import is_line

_PATHS = ("path", "video_path", "video", "file", "filename", "file_path")
_LABELS = ("label", "class", "target", "label_id", "class_id", "class_name")


def is_csv(path: Path) -> bool:
    """Whether a list is a CSV file; some projects call lists of 'path label' lines so, too."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    first = next(iter(read_text(path).splitlines()), "")
    return any(mark in first for mark in ",;\t") or not is_line(first)


def read_csv_list(path: Path, classes: Sequence[str] = ()) -> Listing:
    """Read a CSV file. Its columns may stand in any order, with others beside them.

    Args:
        path: Separated by commas, semicolons or tabs. The header names a column ``path`` (or
            video_path, video, file, filename, file_path) and a column ``label`` (or class, target,
            label_id, class_id, class_name), which holds numbers from 0 or class names.
        classes: Class names by label; by default the file's own, sorted.

    Raises:
        UserError: The file cannot be read, a column is missing, or a row has no path or label.
    """
    text = read_text(path)
    header = next(iter(text.splitlines()), "")
    mark = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    listing, names = Listing(path.parent, [], [], []), []
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        where = _column(path, columns, _PATHS), _column(path, columns, _LABELS)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            video, name = (row[i].strip() if i < len(row) else "" for i in where)
            if not video or not name or "\0" in video:
                raise UserError(
                    f"{path}:{reader.line_num}: has no {'label' if video else 'path'}; "
                    "correct the row"
                )
            listing.paths.append(video)
            listing.lines.append(reader.line_num)
            names.append(name)
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: is not valid CSV: {error}") from None
    if not names:
        raise UserError(f"{path}: has a header but no rows; give a row for each video")
    listing.labels, listing.classes = numbered(
        names, lambda row: f"{path}:{listing.lines[row]}", classes
    )
    return listing


def _column(path: Path, columns: list[str], known: Sequence[str]) -> int:
    for name in known:
        if name in columns:
            return columns.index(name)
    raise UserError(
        f"{path}:1: the header has no column '{known[0]}'; name the columns, such as 'path,label'"
    )
