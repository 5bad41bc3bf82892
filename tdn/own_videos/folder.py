"""What is in a folder of videos: classes, videos, and whether it is divided already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tdn.errors import UserError
from tdn.own_videos.class_folders import check_class_folders, folders_in, videos_in
from tdn.own_videos.split import Video
from tdn.pipelines.indexing.manifest_cache import manifest_of
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.sources.class_folders import read_class_folders

TRAIN = ("train", "training")
VALIDATION = ("validation", "val", "valid", "dev")
TEST = ("test", "testing")
_NAMED = 3
"""As many files or classes are named in a line."""


@dataclass
class VideoFolder:
    """A folder of videos, as it was found."""

    root: Path
    manifest: Manifest
    """Of all that was found, unusable files included."""
    sides: dict[str, list[Video]]
    """The usable videos: of "train" and "validation" where it has folders for them, else of ""."""
    notes: list[str] = field(default_factory=list)
    """What its owner should know, in a line each."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes with a usable video, sorted."""
        return tuple(sorted({video.name for side in self.sides.values() for video in side}))


def look_into(root: Path, template: str = "") -> VideoFolder:
    """Find and check the videos of a folder that has a folder for each class.

    The class folders may lie in ``train`` and ``validation`` (or ``val``, ``valid``; else
    ``test``), which then are the two sides.

    Args:
        root: The folder.
        template: Names of the pictures in folders of frames; by default they are found out.

    Raises:
        UserError: There are no class folders with videos, or a class has no usable one.
    """
    check_class_folders(root)
    manifest = manifest_of(root, template=template)
    found: dict[str, list[Video]] = {}
    unusable = 0
    paths = manifest.table["path"].to_pylist()
    sides = _sides(paths)
    notes = _notes_of_sides(root, paths, sides) + _notes_of_strays(root)
    usable = set(manifest.usable.tolist())
    for row, path in enumerate(paths):
        top, *rest = path.split("/")
        side, parts = (sides.get(top, ""), rest) if sides else ("", [top, *rest])
        if sides and (not side or len(parts) < 2):
            continue
        name = _class_name(parts[0])
        if row in usable:
            found.setdefault(side, []).append(Video(path, name, _content(manifest, row)))
        else:
            unusable += 1
    folder = VideoFolder(root, manifest, found, notes)
    if unusable:
        notes.append(f"left out: {unusable} of {len(paths)} files, named above: no usable videos")
    tops = [root / top for top in sides] or [root]
    named: dict[str, set[str]] = {}
    for entry in (entry for top in tops for entry in folders_in(top)):
        named.setdefault(_class_name(entry.name), set()).add(entry.name)
    notes += [
        f"one class, '{name}', as their names differ in spaces alone: {_listed(sorted(alike))}"
        for name, alike in named.items()
        if len(alike) > 1
    ]
    _check_classes(folder, named.keys())
    return folder


def _class_name(folder: str) -> str:
    """The name of a folder's class, as lists keep it."""
    return " ".join(folder.split())


def _sides(paths: Iterable[str]) -> dict[str, str]:
    """The side of each folder that is one, such as {"train": "train", "val": "validation"}."""
    deep = {path.split("/")[0] for path in paths if path.count("/") >= 2}
    by_name = {name.lower(): name for name in deep}
    train = next((by_name[name] for name in TRAIN if name in by_name), None)
    other = next((by_name[name] for name in (*VALIDATION, *TEST) if name in by_name), None)
    return {train: "train", other: "validation"} if train and other else {}


def _notes_of_sides(root: Path, paths: Iterable[str], sides: dict[str, str]) -> list[str]:
    """What a division that was there already means."""
    if not sides:
        return []
    train, other = sides
    notes = [f"{root} is divided already: {train} to train on, {other} to validate"]
    others = sorted({path.split("/")[0] for path in paths} - sides.keys())
    if others:
        notes.append(f"not used: {_listed([str(root / name) for name in others])}")
    return notes


def _notes_of_strays(root: Path) -> list[str]:
    """Videos that belong to no class."""
    strays = videos_in(root)
    if not strays:
        return []
    return [f"not used, as of no class: {_listed(strays)} right in {root}"]


def _content(manifest: Manifest, row: int) -> tuple[int, ...]:
    """What tells a clip's content from others'; of frames, where their folder lies."""
    checksum, size = manifest.value(row, "checksum"), manifest.value(row, "size")
    if size:
        return size, checksum
    status = Path(manifest.resolve(manifest.value(row, "path"))).stat()
    return status.st_dev, status.st_ino, 0


def _check_classes(folder: VideoFolder, named: Set[str]) -> None:
    """Refuse classes without a usable video, and what is no more than one class."""
    classes, root = folder.classes, folder.root
    empty = sorted(named - set(classes))
    if empty:
        raise UserError(
            f"data.root: no usable video in class {_listed(empty)}; add some (what is wrong with "
            f"its files, if it has any, is told above), or take the folder out of {root}"
        )
    if len(classes) == 1:
        raise UserError(
            f"data.root: {root}: has one class, '{classes[0]}'; a network tells at least two "
            f"apart{_nested(root, folder.manifest)}"
        )
    train, validation = (
        {video.name for video in folder.sides.get(side, ())} for side in ("train", "validation")
    )
    if train or validation:
        _check_sides(root, train, validation, folder.notes)


def _nested(root: Path, manifest: Manifest) -> str:
    """What to give instead where the class folders lie one folder deeper."""
    paths = manifest.table["path"].to_pylist()
    tops = {path.split("/")[0] for path in paths}
    deeper = {path.split("/")[1] for path in paths if path.count("/") >= 2}
    if len(tops) == 1 and len(deeper) > 1:
        return f": if its folders are the classes, give --data.root {root / tops.pop()}"
    return "; add a folder with videos of another"


def _check_sides(root: Path, train: set[str], validation: set[str], notes: list[str]) -> None:
    """Refuse a division in which a class is validated only."""
    unknown = sorted(validation - train)
    if unknown:
        raise UserError(
            f"data.root: {root}: has no usable training videos of class {_listed(unknown)}; add "
            "some, or take its validation videos away"
        )
    missing = sorted(train - validation)
    if missing:
        notes.append(f"no validation videos of class {_listed(missing)}: nothing tests it")


def _listed(names: Sequence[str]) -> str:
    """Some names in a line."""
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


class Changes(NamedTuple):
    """What has happened in a folder since it was looked into, in files (or folders of frames)."""

    new: int
    gone: int
    changed: int

    def __str__(self) -> str:
        counted = [(count, name) for name, count in self._asdict().items() if count]
        (first, name), *others = counted
        told = [f"{first} file{'s are' if first > 1 else ' is'} {name}"]
        return ", ".join(told + [f"{count} {name}" for count, name in others])


def changes(root: Path, manifest: Manifest) -> Changes:
    """Compare a folder with what was found in it before."""
    columns = (manifest.table[name].to_pylist() for name in ("path", "size", "mtime"))
    former = {path: (size, time) for path, size, time in zip(*columns, strict=True)}
    paths = read_class_folders(root).paths
    changed = sum(_changed(root / path, *former[path]) for path in paths if path in former)
    return Changes(
        new=sum(path not in former for path in paths),
        gone=len(former.keys() - set(paths)),
        changed=changed,
    )


def _changed(path: Path, size: int, time: int) -> bool:
    status = path.stat()
    same_size = path.is_dir() or status.st_size == size
    return bool(time) and not (same_size and status.st_mtime_ns == time)
