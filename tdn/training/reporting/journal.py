"""The journal of a run: passes each event on to all sinks."""

from __future__ import annotations

import time
from typing import Any

from tdn.config import Config
from tdn.errors import UserError
from tdn.training.reporting.console import Console, shows_bar
from tdn.training.reporting.record import JsonLines
from tdn.training.reporting.sinks import Sink
from tdn.training.reporting.tensorboard import TensorBoard
from tdn.training.reporting.wandb import WandB
from tdn.training.saving.checkpoint_file import REMEDY
from tdn.training.saving.run_folder import RunFolder


class Journal:
    """Sends events to all sinks; mute but on the main process. A context: sinks live inside.

    Args:
        folder: Where the record is kept.
        config: ``logging`` and ``training.epochs`` are read.
        steps_per_epoch: Steps in an epoch.
        step: Finished steps so far; what is recorded of later ones is dropped.
        is_main: Whether this is the main process.
        validation_due: Whether a validation after that step may be recorded that comes again.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        steps_per_epoch: int,
        step: int,
        is_main: bool,
        validation_due: bool = False,
    ) -> None:
        self._folder = folder
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._step = step
        self._is_main = is_main
        self._validation_due = validation_due
        self._sinks: list[Sink] = []

    def __enter__(self) -> Journal:
        if self._is_main:
            try:
                self._open()
            except OSError as error:
                raise self._unwritable(error) from None
        return self

    def _open(self) -> None:
        logging = self._config.logging
        if logging.wandb:  # first: nothing is written if it refuses
            self._sinks.append(WandB(self._folder, self._config))
        record = JsonLines(self._folder.log, self._step, self._validation_due)
        self._sinks.append(record)
        if logging.tensorboard:
            self._sinks.append(TensorBoard(self._folder.tensorboard, record.kept))
        self._sinks.append(
            Console(
                self._config.training.epochs,
                self._steps_per_epoch,
                shows_bar(self._config, self._is_main),
                logging.line_every if logging.progress else 0.0,
            )
        )

    def __exit__(self, *_error: object) -> None:
        for sink in self._sinks:
            sink.close()

    def record(self, event: str, **fields: Any) -> None:
        """Write an event.

        Raises:
            UserError: The disk is full.
        """
        try:
            for sink in self._sinks:
                sink.write({"event": event, "time": round(time.time(), 3), **fields})
        except OSError as error:
            raise self._unwritable(error) from None

    def sync(self) -> None:
        """Wait until the disk has the record, so that no checkpoint is ahead of it.

        Raises:
            UserError: The disk does not take it.
        """
        try:
            for sink in self._sinks:
                sink.sync()
        except OSError as error:
            raise self._unwritable(error) from None

    def advance(self) -> None:
        """Note that a training step is done."""
        for sink in self._sinks:
            sink.advance()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self._folder.root}: cannot be written ({error.strerror}); {REMEDY}")
