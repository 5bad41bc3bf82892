"""Saving checkpoints while training goes on.

What a checkpoint holds is copied to the CPU's memory, without waiting for the device; a thread
writes the copy. One is written at a time: the next one waits for it, and so does the end of the
run. If writing fails, the run ends at its next step; the former checkpoints are all there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from tdn.errors import UserError
from tdn.training.saving.checkpoint_file import REMEDY, Checkpoint, write_checkpoint
from tdn.training.saving.run_folder import RunFolder


class Saver:
    """Writes a run's checkpoints. A context: it ends when everything is written.

    Args:
        folder: Where.
        keep: How many to keep besides the best one, ``training.keep``.
        step: Finished steps of the checkpoint that is the last one now, if there is one.
    """

    def __init__(self, folder: RunFolder, keep: int, step: int | None = None) -> None:
        self._folder = folder
        self._keep = keep
        self._last_step = step
        self._thread = ThreadPoolExecutor(1, "tdn-checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self.check()

    def save(
        self, checkpoint: Checkpoint, best: bool = False, before: Callable[[], object] | None = None
    ) -> None:
        """Have a checkpoint written as the last one.

        Args:
            checkpoint: What it holds; may change as soon as this returns.
            best: Whether it is the best one too.
            before: What the thread is to do before the checkpoint is there.

        Raises:
            UserError: The former one could not be written.
        """
        self.wait()
        copy, copied = snapshot(checkpoint)
        self._writing = self._thread.submit(self._write, copy, copied, best, before)

    def check(self) -> None:
        """Raise what went wrong in the thread, if it has ended.

        Raises:
            UserError: The folder cannot be written or is full.
        """
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            UserError: As ``check``.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(
        self,
        checkpoint: Checkpoint,
        copied: torch.cuda.Event | None,
        best: bool,
        before: Callable[[], object] | None,
    ) -> None:
        if copied is not None:
            copied.synchronize()
        if before is not None:
            before()
        folder = self._folder
        if best:  # first: the last one says that it is there
            write_checkpoint(folder.best, checkpoint)
        try:
            if checkpoint["step"] != self._last_step:
                self._keep_last()
            write_checkpoint(folder.last, checkpoint)
            self._last_step = checkpoint["step"]
            for path in folder.earlier()[self._keep - 1 :]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder.checkpoints}: cannot be changed ({error.strerror}); {REMEDY}"
            ) from None

    def _keep_last(self) -> None:
        """Give the last checkpoint the name it has as an earlier one, besides its own."""
        last = self._folder.last
        if self._keep == 1 or self._last_step is None or not last.exists():
            return
        kept = self._folder.earlier_path(self._last_step)
        kept.unlink(missing_ok=True)
        try:
            kept.hardlink_to(last)
        except OSError:  # a file system without links: for a moment there is no last one
            last.replace(kept)


def snapshot(checkpoint: Checkpoint) -> tuple[Checkpoint, torch.cuda.Event | None]:
    """A copy in the CPU's memory that later steps do not change.

    Returns:
        The copy, and for tensors on a GPU when it is complete: the device fills it in the order of
        its work, and nobody waits here. Page-locked memory is what allows that.
    """
    on_gpu = False

    def copied(value: Any) -> Any:
        nonlocal on_gpu
        if isinstance(value, Tensor):
            on_gpu = on_gpu or value.is_cuda
            copy = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
            return copy.copy_(value.detach(), non_blocking=True)
        if isinstance(value, dict):
            return {key: copied(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(copied(item) for item in value)
        return value

    copy = copied(checkpoint)
    if not on_gpu:
        return copy, None
    event = torch.cuda.Event()
    event.record()
    return copy, event
