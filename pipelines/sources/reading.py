"""Rows of a data set, whichever way it is given: finds out which, and hands it to that reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.pipelines.sources.class_folders import read_class_folders
from tdn.pipelines.sources.csv_lists import is_csv, read_csv_list
from tdn.pipelines.sources.listing import Listing
from tdn.pipelines.sources.shards import are_shards, read_shards
from tdn.pipelines.sources.text_lists import read_text_list


def read_listing(source: str | Path, classes: Sequence[str] = (), template: str = "") -> Listing:
    """Read a data set's rows.

    Args:
        source: A text list (``path label`` or ``path frames label`` lines), a CSV file with a
            header, a folder with one folder per class, or tar shards (``train-{000..031}.tar``, or
            a pattern such as ``train-*.tar``).
        classes: Class names by label, for sources that give names; by default the source's own
            names, sorted.
        template: Format of picture names, for frames in tar shards; by default it is found out.

    Raises:
        UserError: The source cannot be read, or a row of it cannot be understood.
    """
    if not str(source):
        raise UserError("the data set's name is empty; give a list, a folder or tar shards")
    path = Path(source)
    if path.is_dir():
        return read_class_folders(path, classes)
    if are_shards(source):
        return read_shards(str(source), classes, template)
    read: Callable[[Path, Sequence[str]], Listing]
    read = read_csv_list if is_csv(path) else read_text_list
    return read(path, classes)
