"""The folder that copies are written to: whose it is, and what is written to it by the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tdn.errors import UserError
from tdn.files import write_text_atomically
from tdn.pipelines.manifests.manifest import Manifest
from tdn.pipelines.transcoding.journal import Journal, open_journal
from tdn.pipelines.transcoding.plan import list_stem
from tdn.pipelines.transcoding.settings import CopySettings


class Output:
    """A folder, and the name of one list's copy in it.

    Attributes:
        folder: Complete path.
        stem: The name; everything that is written is called so, and something behind it.
    """

    def __init__(self, folder: str | Path, manifest: Manifest) -> None:
        """Choose the name.

        Raises:
            UserError: The originals would be overwritten.
        """
        original = manifest.list_path
        self.folder = Path(folder).absolute()
        self.stem = list_stem(original)
        if self.folder.resolve() == original.parent.resolve():
            raise UserError(f"{folder}: holds the original, {original.name}; choose another output")

    def path(self, ending: str) -> Path:
        """A path below the folder that starts with the name."""
        return self.folder / f"{self.stem}{ending}"

    def hidden(self, ending: str) -> Path:
        """The same, hidden: for what is no part of the copy."""
        return self.folder / f".{self.stem}{ending}"

    @property
    def temporary(self) -> Path:
        """Folder for unfinished files; on the same file system as the copies."""
        return self.hidden(".partial")

    @contextmanager
    def opened(self, settings: CopySettings) -> Iterator[Journal]:
        """Take possession: yields the journal; an output that nothing comes of is left as it was.

        Raises:
            UserError: Something else, or another run, is there, or it cannot be written.
        """
        file = self.hidden(".journal")
        if not file.exists():
            there = [self.path(".txt"), self.path(""), *self.folder.glob(f"{self.stem}-*.tar")]
            other = next((path for path in there if path.exists()), None)
            if other is not None:
                raise UserError(
                    f"{other}: exists and was not made by tdn transcode; choose another output"
                )
        made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{error.filename}: cannot be made: {error.strerror}; choose another output"
            ) from None
        with open_journal(file, settings) as journal:
            try:
                shutil.rmtree(self.temporary, ignore_errors=True)
                self.temporary.mkdir()
                yield journal
            finally:
                shutil.rmtree(self.temporary, ignore_errors=True)
                if not journal.records and not journal.shards:
                    file.unlink()
                    with suppress(OSError):  # where something else has come in meanwhile
                        for folder in made:
                            folder.rmdir()

    def write_classes(self, names: Sequence[str]) -> None:
        """Write the names of labels, for data.classes, if there are any."""
        if names:
            self.write(".classes.txt", "".join(f"{name}\n" for name in names))

    def write(self, ending: str, text: str) -> None:
        """Write a text file; readers see the old one or the whole new one."""
        write_text_atomically(self.path(ending), text)
