"""What a run tells: log.jsonl as the record, TensorBoard for curves, the console for the moment.

An event is a flat dict and goes to every sink; sinks exist on the main process only. Events:

    start       what runs where: versions, device, processes, optimizer backend, precision
    train       means since the last train line: loss, top1, clips_per_second, data_wait; and lr,
                gradient_norm, eta (seconds) at that step
    validation  loss, top1, top5, best_top1
    end         the same metrics, and seconds in all

``step`` counts finished steps over the whole run, ``epoch`` counts from 1. top1, top5 and data_wait
(the part of the time in which the network waited for clips) are in percent. The loss and norm of a
line are null where they are not finite.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from tdn.config import Config
from tdn.errors import UserError
from tdn.files import write_atomically
from tdn.training.checkpoint_file import REMEDY
from tdn.training.run_folder import RunFolder

Event = dict[str, Any]


class Sink(Protocol):
    """Somewhere events go."""

    def write(self, event: Event) -> None:
        """Take an event."""

    def advance(self) -> None:
        """A training step is done; called for each, so this must cost nothing."""

    def sync(self) -> None:
        """Wait until the disk has what was written; called by another thread."""

    def close(self) -> None:
        """Finish."""


class Journal:
    """Sends events to all sinks; mute but on the main process. A context: sinks live inside.

    Args:
        folder: Where the record is kept.
        config: ``logging`` and ``training.epochs`` are read.
        steps_per_epoch: Steps in an epoch.
        step: Finished steps so far; what is recorded of later ones is dropped.
        is_main: Whether this is the main process.
    """

    def __init__(
        self, folder: RunFolder, config: Config, steps_per_epoch: int, step: int, is_main: bool
    ) -> None:
        self._folder = folder
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._step = step
        self._is_main = is_main
        self._sinks: list[Sink] = []

    def __enter__(self) -> Journal:
        if self._is_main:
            show_bar = shows_bar(self._config, self._is_main)
            epochs = self._config.training.epochs
            record = JsonLines(self._folder.log, self._step)
            self._sinks.append(record)
            if self._config.logging.tensorboard:
                self._sinks.append(TensorBoard(self._folder.tensorboard, record.kept))
            self._sinks.append(Console(epochs, self._steps_per_epoch, show_bar))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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


def shows_bar(config: Config, is_main: bool) -> bool:
    """Whether to draw progress bars: where somebody watches and wants them."""
    return is_main and config.logging.progress and sys.stderr.isatty()


class JsonLines:
    """log.jsonl: one event a line; a resumed run repeats no step."""

    def __init__(self, path: Path, step: int) -> None:
        self.kept: list[Event] = []
        """What a former session wrote up to the step; the rest is cut off."""
        if path.exists():
            self.kept = list(_events_until(step, path.read_text()))
            text = "".join(json.dumps(event) + "\n" for event in self.kept).encode()
            write_atomically(path, lambda file: file.write(text), REMEDY)
        self._file = path.open("ab", buffering=0)

    def write(self, event: Event) -> None:
        """Append the event at once, so that a crash loses nothing."""
        numbers = {key: _finite(value) for key, value in event.items()}
        self._file.write((json.dumps(numbers, allow_nan=False) + "\n").encode())

    def advance(self) -> None:
        """Steps are not logged one by one."""

    def sync(self) -> None:
        """Wait for the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _events_until(step: int, text: str) -> Iterator[Event]:
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # cut off by a crash
            continue
        if event["step"] <= step:
            yield event


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """Event files: every number of train and validation events as a curve over steps.

    A resumed run draws them anew from the record: what was in a killed process's buffer is there
    again, and nothing twice.
    """

    def __init__(self, folder: Path, former: Sequence[Event] = ()) -> None:
        for path in folder.glob("events.*"):
            if path.stat().st_size:
                os.truncate(path, 0)  # a viewer that watches it would miss it, and see no other
            else:
                path.unlink()
        self._writer = SummaryWriter(str(folder), purge_step=0)  # it forgets what it has read
        for event in former:
            self.write(event)

    def write(self, event: Event) -> None:
        """Add the event's numbers to the curves."""
        if event["event"] not in ("train", "validation"):
            return
        for key, value in event.items():
            if isinstance(value, float) and key != "time":
                name = f"{event['event']}/{key}"
                self._writer.add_scalar(name, value, event["step"], walltime=event["time"])

    def advance(self) -> None:
        """Steps are not drawn one by one."""

    def sync(self) -> None:
        """Nothing: the curves are drawn again from the record."""

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


class Console:
    """A line for each epoch's training and validation; on a terminal also a bar for its steps."""

    def __init__(self, epochs: int, steps_per_epoch: int, show_bar: bool) -> None:
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._show_bar = show_bar
        self._bar: tqdm[Any] | None = None
        self._step = 0
        self._lines_of_epoch: list[Event] = []

    def write(self, event: Event) -> None:
        """Show the event."""
        show = {"start": self._start, "train": self._train, "validation": self._validation}
        show.get(event["event"], self._end)(event)

    def advance(self) -> None:
        """Move the bar."""
        if self._show_bar and self._bar is None:
            self._bar = tqdm(
                total=self._steps_per_epoch,
                initial=self._step % self._steps_per_epoch,
                desc=self._name(self._step // self._steps_per_epoch + 1),
                unit="step",
                leave=False,
                dynamic_ncols=True,
            )
        self._step += 1
        if self._bar is not None:
            self._bar.update()

    def sync(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _name(self, epoch: int) -> str:
        return f"epoch {epoch:{len(str(self._epochs))}d}/{self._epochs}"

    def _start(self, event: Event) -> None:
        self._step = event["step"]
        processes = event["world_size"]
        print(
            f"{event['model']}: {event['parameters']:,} parameters, {event['precision']} on "
            f"{event['device']}, {processes} process{'es' if processes > 1 else ''}, "
            f"{event['optimizer']} by {event['optimizer_backend']}\n"
            f"{event['epochs']} epochs of {event['steps_per_epoch']} steps, "
            f"{event['global_batch']} clips a step; run folder {event['output']}",
            flush=True,
        )
        if event["base_batch"]:
            print(
                f"learning rate {event['lr']:g}: optimizer.lr times {event['global_batch']} clips "
                f"a step / optimizer.base_batch {event['base_batch']}",
                flush=True,
            )
        for part, factors in event["multipliers"].items():
            told = ", ".join(f"{key} x {factor:g}" for key, factor in factors.items())
            print(f"{part}: {told}", flush=True)
        if event["resumed_from"]:
            print(f"resumed from {event['resumed_from']} after step {event['step']}", flush=True)
        if event["pretrained"]:
            print(event["pretrained"], flush=True)

    def _train(self, event: Event) -> None:
        self._lines_of_epoch.append(event)
        if self._bar is not None:
            self._bar.set_postfix_str(_numbers(event))
        if event["step"] % self._steps_per_epoch == 0:
            self.close()
            print(f"{self._name(event['epoch'])}  {_numbers(_mean(self._lines_of_epoch))}")
            self._lines_of_epoch = []

    def _validation(self, event: Event) -> None:
        print(
            f"{self._name(event['epoch'])}  validation: loss {event['loss']:.3f}, "
            f"top-1 {event['top1']:.1f} %, top-5 {event['top5']:.1f} %, "
            f"best top-1 {event['best_top1']:.1f} %",
            flush=True,
        )

    def _end(self, event: Event) -> None:
        self.close()
        duration = tqdm.format_interval(event["seconds"])
        if event["completed"]:
            print(f"complete after {duration}, best top-1 {event['best_top1']:.1f} %", flush=True)
        else:
            print(f"stopped on request after step {event['step']}, {duration}", flush=True)


def _mean(events: Sequence[Event]) -> Event:
    """One train event for several: means over the clips, the last remaining time."""
    clips = sum(event["clips"] for event in events)
    seconds = [event["clips"] / event["clips_per_second"] for event in events]

    def mean(key: str, weights: Sequence[float]) -> float:
        values = (event[key] * weight for event, weight in zip(events, weights, strict=True))
        return sum(values) / sum(weights)

    counts = [event["clips"] for event in events]
    return {
        "loss": mean("loss", counts),
        "top1": mean("top1", counts),
        "clips_per_second": clips / sum(seconds),
        "data_wait": mean("data_wait", seconds),
        "eta": events[-1]["eta"],
    }


def _numbers(event: Event) -> str:
    return (
        f"loss {event['loss']:.3f}, top-1 {event['top1']:.1f} %, "
        f"{event['clips_per_second']:.1f} clips/s, data wait {event['data_wait']:.0f} %, "
        f"ETA {tqdm.format_interval(event['eta'])}"
    )
