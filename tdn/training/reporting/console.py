"""What a run shows on a terminal or in a job's log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from tdn.config import Config
from tdn.training.metrics import TOP5_FROM
from tdn.training.reporting.pacing import Pacing
from tdn.training.reporting.sinks import Event


def shows_bar(config: Config, is_main: bool) -> bool:
    """Whether to draw progress bars: where somebody watches and wants them."""
    return is_main and config.logging.progress and sys.stderr.isatty()


class Console:
    """A line for each epoch's training and validation, and how far the epoch is.

    On a terminal a bar shows the latter; a file gets a line now and then, for ``tail -f``.

    Args:
        epochs: Of the run.
        steps_per_epoch: Steps in an epoch.
        show_bar: Whether to draw a bar.
        line_every: Seconds between lines within an epoch, where there is no bar; 0 for none.
    """

    def __init__(
        self, epochs: int, steps_per_epoch: int, show_bar: bool, line_every: float
    ) -> None:
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._show_bar = show_bar
        self._lines = Pacing(0.0 if show_bar else line_every)
        self._bar: tqdm[Any] | None = None
        self._step = 0
        self._share = ""
        self._shows_top5 = True
        self._of_epoch: list[Event] = []
        self._of_line: list[Event] = []

    def write(self, event: Event) -> None:
        """Show the event."""
        show = {
            "start": self._start,
            "train": self._train,
            "validation": self._validation,
            "skipped": self._skipped,
            "end": self._end,
        }
        if event["event"] in show:  # an error tells itself
            show[event["event"]](event)

    def advance(self) -> None:
        """Move the bar."""
        if self._show_bar and self._bar is None:
            self._bar = tqdm(
                total=self._steps_per_epoch,
                initial=self._step % self._steps_per_epoch,
                desc=self._name(self._step // self._steps_per_epoch + 1),
                bar_format="{desc}, step {n_fmt}/{total_fmt} |{bar}|{postfix}",
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
        self._lines.start(event["time"])
        self._shows_top5 = event["classes"] >= TOP5_FROM
        processes = event["world_size"]
        if processes > 1:
            self._share = "per process" if event["device"] == "CPU" else "per GPU"
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
        self._of_epoch.append(event)
        self._of_line.append(event)
        done = event["step"] % self._steps_per_epoch
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers([event]))
        if not done:
            self.close()
            self._print_line(event, self._name(event["epoch"]), self._of_epoch)
            self._of_epoch = []
        elif self._lines.is_due(event["time"]):
            clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
            steps = f"step {done}/{self._steps_per_epoch}"
            self._print_line(
                event, f"{clock}  {self._name(event['epoch'])}, {steps}", self._of_line
            )

    def _print_line(self, event: Event, place: str, events: Sequence[Event]) -> None:
        print(f"{place}  {self._numbers(events)}", flush=True)
        self._lines.printed(event["time"])
        self._of_line = []

    def _numbers(self, events: Sequence[Event]) -> str:
        found = _mean(events)
        share = f" ({found['clips_per_second_each']:.1f} {self._share})" if self._share else ""
        return (
            f"loss {found['loss']:.3f}, top-1 {found['top1']:.1f} %, "
            f"{found['clips_per_second']:.1f} clips/s{share}, "
            f"data wait {found['data_wait']:.0f} %, {found['memory']:.1f} GB, "
            f"ETA {tqdm.format_interval(found['eta'])}"
        )

    def _validation(self, event: Event) -> None:
        top5 = f", top-5 {event['top5']:.1f} %" if self._shows_top5 else ""
        print(
            f"{self._name(event['epoch'])}  validation: loss {event['loss']:.3f}, "
            f"top-1 {event['top1']:.1f} %{top5}, best top-1 {event['best_top1']:.1f} %",
            flush=True,
        )

    def _skipped(self, event: Event) -> None:
        rows = ", ".join(map(str, event["rows"][:8])) + (", ..." if len(event["rows"]) > 8 else "")
        print(
            f"step {event['step']}: left out, the {event['reason']} is not finite, on rows {rows}",
            flush=True,
        )

    def _end(self, event: Event) -> None:
        self.close()
        duration = tqdm.format_interval(event["seconds"])
        if event["completed"]:
            print(f"complete after {duration}, best top-1 {event['best_top1']:.1f} %", flush=True)
        else:
            place = f"after step {event['step']}, {duration}"
            print(f"stopped on request {place}: the same command goes on", flush=True)


def _mean(events: Sequence[Event]) -> Event:
    """One train event for several: means over the clips, the last memory and remaining time."""
    events = [event for event in events if event["clips"]] or events[-1:]
    counts = [event["clips"] or 1 for event in events]
    seconds = [
        count / event["clips_per_second"] for count, event in zip(counts, events, strict=True)
    ]

    def mean(key: str, weights: Sequence[float]) -> float:
        values = (event[key] * weight for event, weight in zip(events, weights, strict=True))
        return sum(values) / sum(weights)

    return {
        "loss": mean("loss", counts),
        "top1": mean("top1", counts),
        "clips_per_second": mean("clips_per_second", seconds),
        "clips_per_second_each": mean("clips_per_second_each", seconds),
        "data_wait": mean("data_wait", seconds),
        "memory": events[-1]["memory"],
        "eta": events[-1]["eta"],
    }
