"""CSV lists: a header names the columns, one row a video."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.sources.listing import Listing, is_storable, numbered, read_text
from tdn.pipelines.sources.text_lists import is_line

_PATHS = ("path", "video_path", "video", "file", "filename", "file_path", "filepath")
_LABELS = ("label", "class", "target", "label_id", "class_id", "class_name")
_MARKS = ",;\t"


def is_csv(path: Path) -> bool:
    """Whether a list is a CSV file; some projects call lists of 'path label' lines so, too."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    first = next(filter(str.strip, read_text(path).splitlines()), "")
    return not is_line(first) or re.search(r"[,;]\s+[0-9]+\s*$", first) is not None


def read_csv_list(path: Path, classes: Sequence[str] = ()) -> Listing:
    """Read a CSV file. Its columns may stand in any order, with others beside them.

    Args:
        path: Separated by commas, semicolons or tabs. The header names a column ``path`` (or
            video_path, video, file, filename, file_path, filepath) and a column ``label`` (or
            class, target, label_id, class_id, class_name), which holds numbers from 0 or class
            names. Of several such columns the first in this order counts.
        classes: Class names by label; by default the file's own, sorted.

    Raises:
        UserError: The file cannot be read, a column is missing or there twice, or a row has no path
            or label, or more cells than the header.
    """
    text = read_text(path)
    mark = max(_MARKS, key=next(filter(str.strip, text.splitlines()), "").count)
    # Strict: a quote that is never closed would swallow the rows behind it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    rows = (row for row in reader if any(cell.strip() for cell in row))
    listing, names = Listing(path.parent, [], [], []), []
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        where = _column(path, columns, _PATHS), _column(path, columns, _LABELS)
        for row in rows:
            video, name = _cells(row, where, len(columns), f"{path}:{reader.line_num}")
            listing.paths.append(video)
            listing.lines.append(reader.line_num)
            names.append(name)
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: is not valid CSV ({error}); check the quotes"
        ) from None
    if not names:
        raise UserError(f"{path}: has a header but no rows; give a row for each video")
    listing.labels, listing.classes = numbered(
        names, lambda row: f"{path}:{listing.lines[row]}", classes
    )
    return listing


def _column(path: Path, columns: Sequence[str], known: Sequence[str]) -> int:
    name = next((name for name in known if name in columns), None)
    if name is None:
        raise UserError(
            f"{path}: its first line is a header without a column '{known[0]}'; name the columns "
            "there, such as 'path,label'"
        )
    if columns.count(name) > 1:
        raise UserError(f"{path}: its header names two columns '{name}'; drop or rename one")
    return columns.index(name)


def _cells(row: Sequence[str], where: tuple[int, int], columns: int, line: str) -> tuple[str, str]:
    """A row's path and label."""
    if any(cell.strip() for cell in row[columns:]):
        raise UserError(
            f"{line}: has {len(row)} cells, but the header names {columns}; put cells that hold a "
            "separator in quotes"
        )
    video, name = (row[i].strip() if i < len(row) else "" for i in where)
    if not video or not name:
        raise UserError(f"{line}: has no {'label' if video else 'path'}; correct the row")
    if not is_storable(video):
        raise UserError(f"{line}: {video!a} is no path; correct the row")
    return video, " ".join(name.split())
