"""``tdn prepare``: a published data set's label files become lists, checked against its videos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.pipelines.datasets.clip_files import choose, find_clips
from tdn.pipelines.datasets.labels import LabelFiles, Labels, Row, check_labels
from tdn.pipelines.datasets.official import DATA_SETS, Count, DataSet
from tdn.pipelines.sources.listing import is_storable

_LABEL_FOLDERS = ("", "labels", "annotations")


@dataclass(frozen=True)
class Part:
    """What became of one list."""

    path: Path
    """The list; not written if none of its clips is there."""
    listed: int
    """Clips in the label file."""
    there: int
    """Clips whose video or folder of frames was found."""
    published: Count | None
    """Clips that there should be in the label file; None where nobody says."""
    labelled: bool

    @property
    def as_published(self) -> bool:
        """Whether the label file has as many clips as the owner published."""
        if isinstance(self.published, tuple):
            fewest, most = self.published
            return fewest <= self.listed <= most
        return self.published in (None, self.listed)

    def __str__(self) -> str:
        missing = self.listed - self.there
        text = f"{self.listed:,} clips, {f'{missing:,} missing' if missing else 'all there'}"
        if not self.as_published:
            text += f" (published: {_in_words(self.published)})"
        if not self.there:
            return f"{text}; no list"
        return text if self.labelled else f"{text}, without labels"


def _in_words(count: Count | None) -> str:
    if isinstance(count, tuple):
        return " to ".join(f"{number:,}" for number in count)
    return f"{count:,}"


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` wrote; its text is what ``tdn prepare`` prints."""

    data: DataSet
    split: int
    classes: Path
    """File of class names."""
    num_classes: int
    parts: dict[str, Part]
    missing: Path | None
    """File that names the missing clips."""

    @property
    def as_published(self) -> bool:
        """Whether the label files have as many classes and clips as the owner published."""
        parts = all(part.as_published for part in self.parts.values())
        return parts and self.num_classes == self.data.classes

    def __str__(self) -> str:
        split = f", split {self.split}" if len(self.data.counts) > 1 else ""
        odd = self.num_classes != self.data.classes
        published = f" (published: {self.data.classes})" if odd else ""
        rows = [(self.classes, f"{self.num_classes} classes{published}")]
        rows += [(part.path, str(part)) for part in self.parts.values()]
        if self.missing is not None:
            rows.append((self.missing, "names of what is missing"))
        width = max(len(str(path)) for path, _ in rows)
        lines = [f"{self.data.title}{split}"]
        lines += [f"  {path!s:<{width}}  {text}" for path, text in rows]
        if not self.as_published:
            lines.append("  The label files are not those that were published: take the owner's.")
        return "\n".join(lines)


def prepare(
    name: str,
    root: str | Path,
    output: str | Path,
    *,
    split: int = 1,
    labels: str | Path | None = None,
) -> Prepared:
    """Write a data set's lists: class names, and for each part ``path label`` lines.

    The lists name the clips that are there, in the order of the label file, by their path from the
    root; those that are not there are named in a file of their own.

    Args:
        name: One of ``DATA_SETS``.
        root: Folder that holds the videos, or folders of frames, at any depth.
        output: Folder to write to.
        split: Of UCF101 and HMDB51, 1 to 3.
        labels: Folder of the label files; by default the root, or a folder in it that the owner's
            archive or custom puts them in.

    Raises:
        UserError: Label files are missing or malformed, or no clip is there.
    """
    data, root, output = DATA_SETS[name], Path(root), Path(output)
    if not 1 <= split <= len(data.counts):
        raise UserError(f"--split: {data.title} has no split {split}; {_splits(data)}")
    for folder in (root, *([Path(labels)] if labels else [])):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the one with the unpacked archives")
    found = data.read(LabelFiles(_label_folders(data, root, labels)), split)
    check_labels(found)
    paths = _paths(found, data, root)
    return _write(data, split, found, paths, output)


def _splits(data: DataSet) -> str:
    count = len(data.counts)
    return f"give 1 to {count}" if count > 1 else "leave the option out"


def _label_folders(data: DataSet, root: Path, labels: str | Path | None) -> list[Path]:
    if labels is not None:
        return [Path(labels)]
    return [root / folder for folder in (*_LABEL_FOLDERS, *data.folders)]


def _paths(labels: Labels, data: DataSet, root: Path) -> dict[Row, str]:
    """The clips that are there."""
    rows = [row for part in labels.parts.values() for row in part]
    found = find_clips(root, (row.clip for row in rows))
    if not rows or not found:
        example = f", such as {rows[0].name}" if rows else ""
        raise UserError(
            f"{root}: holds none of the {len(rows):,} clips of the label files{example}; unpack "
            "the videos there, or give the folder that holds them"
        )
    paths = {
        row: choose(row, found[row.clip], data.preferred, root) for row in rows if row.clip in found
    }
    odd = next((path for path in paths.values() if not _is_listable(path)), None)
    if odd is not None:
        raise UserError(f"{root}: a list cannot hold the name {odd!a}; rename the file")
    return paths


def _is_listable(path: str) -> bool:
    """Whether a path can stand before a label: what looks like a number of frames cannot."""
    return is_storable(path) and path == path.strip() and not re.search(r"\s[0-9]+$", path)


def _write(
    data: DataSet, split: int, labels: Labels, paths: Mapping[Row, str], output: Path
) -> Prepared:
    suffix = f"_split{split}" if len(data.counts) > 1 else ""
    names = output / "classes.txt"
    _write_lines(names, labels.classes)
    parts = {}
    for name, rows in labels.parts.items():
        path = output / f"{name}{suffix}.txt"
        there = [row for row in rows if row in paths]
        _write_lines(path, [_line(row, paths[row]) for row in there])
        labelled = all(row.label is not None for row in rows)
        published = data.counts[split - 1].get(name)
        parts[name] = Part(path, len(rows), len(there), published, labelled)
    lost = [
        f"{name} {row.name}"
        for name, rows in labels.parts.items()
        for row in rows
        if row not in paths
    ]
    missing = output / f"missing{suffix}.txt"
    _write_lines(missing, lost)
    classes = len(labels.classes)
    return Prepared(data, split, names, classes, parts, missing if lost else None)


def _line(row: Row, path: str) -> str:
    return path if row.label is None else f"{path} {row.label}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a file, or remove it if there is nothing to say."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    text = "".join(f"{line}\n" for line in lines)
    write_text_atomically(path, text, "choose another with --output")
