"""The lists of a run, kept in its folder: what is trained on and what is validated.

train.csv, validation.csv   path and class of each video
classes.txt                 names of the classes, by label
videos.arrow                all that was found in the folder, to notice what changes there
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tdn.errors import UserError
from tdn.files import write_atomically, write_text_atomically
from tdn.own_videos.split import Video
from tdn.pipelines.indexing.manifest_cache import cache_path
from tdn.pipelines.manifests.manifest import Manifest


class Lists:
    """The files of a run's lists.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.train = folder / "train.csv"
        self.validation = folder / "validation.csv"
        self.classes = folder / "classes.txt"
        self.found = folder / "videos.arrow"
        self.copies = folder / "copies"

    def check_free(self) -> None:
        """Refuse a folder with files of these names that are somebody else's.

        Those of a start that was killed are known by what was found, which is written first.

        Raises:
            UserError: There is one, such as a list of the user's own.
        """
        if self.found.exists():
            return
        for file in (self.train, self.validation, self.classes):
            if file.exists():
                raise UserError(
                    f"output: {file} is there already, and the run would write its own over it; "
                    "give another --output"
                )

    def write(
        self,
        root: Path,
        manifest: Manifest,
        classes: Sequence[str],
        train: Sequence[Video],
        validation: Sequence[Video],
        template: str = "",
    ) -> None:
        """Write all of them.

        What is known of the videos is handed on to both lists, so that none is looked into again.

        Args:
            root: The folder of the videos.
            manifest: Of all that was found there.
            classes: Names by label.
            train: Videos to train on.
            validation: Videos to validate.
            template: Names of the pictures in folders of frames, if they were given.

        Raises:
            UserError: The run folder cannot be written, or a file's name cannot stand in a list.
        """
        _check_names(root, [*train, *validation])
        _copy(manifest.file, self.found)
        write_text_atomically(self.classes, "".join(f"{name}\n" for name in classes))
        for file, videos in ((self.train, train), (self.validation, validation)):
            write_text_atomically(file, as_csv((video.path, video.name) for video in videos))
            _copy(manifest.file, cache_path(file, root, classes, template))

    def remove(self) -> None:
        """Delete all of them."""
        for file in (self.train, self.validation, self.classes, self.found):
            # The last one, by which the others are known to be a run's, goes last.
            file.unlink(missing_ok=True)


def _copy(file: Path, other: Path) -> None:
    with file.open("rb") as source:
        write_atomically(other, lambda target: shutil.copyfileobj(source, target))


def as_csv(rows: Iterable[tuple[str, str]]) -> str:
    """A list of paths and class names, as text."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("path", "label"))
    lines.writerows(rows)
    return text.getvalue()


def _check_names(root: Path, videos: Iterable[Video]) -> None:
    """Refuse a name that would be another one when it is read."""
    for video in videos:
        if video.path != video.path.strip():
            raise UserError(
                f"{root}: '{video.path}' begins or ends with a space, which a list cannot keep; "
                "rename it"
            )
