"""The training run: build, then epochs of steps, each followed by a validation and a checkpoint.

    tdn train --config configs/demo.yaml
    torchrun --nproc-per-node gpu -m tdn train --config configs/demo.yaml

or, from Python, ``train("configs/demo.yaml")``. The steps themselves are in ``step``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tdn.config import Config
from tdn.config_loading import absolute_paths, dump_config, resolve_config
from tdn.training.build import Parts, Start, build, check_same_data, find_start
from tdn.training.description import describe
from tdn.training.interruption import StopRequest, marking_early_stop
from tdn.training.loss_watch import LossWatch
from tdn.training.lost_videos import LostVideos
from tdn.training.metrics import Summary
from tdn.training.optimizing.schedules import create_schedule
from tdn.training.processes.agreement import Agreement
from tdn.training.processes.distributed import Processes, open_processes
from tdn.training.processes.whereabouts import COMMUNICATION, DATA, METRICS, REPORTING, SAVING
from tdn.training.profiling import StepProfiler, parse_steps
from tdn.training.progress import Progress
from tdn.training.reporting.journal import Journal
from tdn.training.reporting.wandb import check_wandb
from tdn.training.result import TrainingResult
from tdn.training.saving.run_folder import RunFolder
from tdn.training.saving.run_lock import run_lock
from tdn.training.saving.saver import Saver
from tdn.training.state import make_checkpoint, restore
from tdn.training.step import StepResult, TrainingStep
from tdn.training.validation import validate
from tdn.training.watching.watchdog import Watchdog

if TYPE_CHECKING:
    from tdn.pipelines.loader import Batch


def train(config: Config | str | Path, profile: str | None = None) -> TrainingResult:
    """Train a network, or go on training it; under ``torchrun`` on all its processes.

    Args:
        config: Configuration, or the path of its YAML file.
        profile: Steps of this session to profile, such as "10..15" (``tdn.training.profiling``).

    Returns:
        How the run ended, the same on all processes.

    Raises:
        UserError: Something the run needs is missing or wrong, another run has the folder, or the
            loss is no longer a number.
    """
    config = resolve_config(config)
    with ExitStack() as stack:
        processes = stack.enter_context(open_processes(config.training))
        with processes.failing_together():
            steps = parse_steps(profile) if profile is not None else None
            if processes.is_main:
                check_wandb(config.logging.wandb)
            folder = RunFolder(config.output)
            if processes.is_main:
                stack.enter_context(run_lock(folder.root))
        stop = stack.enter_context(StopRequest(processes, config.training.stop_timeout))
        stack.enter_context(marking_early_stop(folder, processes))
        stack.enter_context(Watchdog(config.training, processes, stop, folder))
        start = find_start(config, folder, processes)
        if start.state.epoch >= config.training.epochs:
            return _already_complete(start, folder, processes)
        if processes.from_main(processes.is_main and folder.stopped_before()):
            return _already_stopped(start, folder, processes)
        with processes.failing_together():
            parts = build(config, folder, processes, start, stack)
            pace = parts.pace
            left = config.training.epochs * pace.steps_per_epoch - pace.steps_done(start.state)
            resumed = start.checkpoint is not None
            profiler = StepProfiler(steps, left, resumed, folder.profile, processes)
        check_same_data(
            processes,
            train_list=parts.train_loader,
            validation_list=parts.validation_loader,
        )
        return Trainer(config, processes, folder, parts, start, stop, profiler).run()


class Trainer:
    """The loop over epochs and steps.

    Args:
        config: The run's configuration, as it was given.
        processes: Those that train together.
        folder: Where the run is kept.
        parts: Network, optimizer and loaders.
        start: Where to begin.
        stop: What asks this process to stop.
        profiler: Records some of the steps.
    """

    def __init__(
        self,
        config: Config,
        processes: Processes,
        folder: RunFolder,
        parts: Parts,
        start: Start,
        stop: StopRequest,
        profiler: StepProfiler,
    ) -> None:
        self.given = config
        self.config = config = parts.config
        self.processes = processes
        self.folder = folder
        self.parts = parts
        self.start = start
        self.state = start.state
        self.profiler = profiler
        self.note = processes.whereabouts.note
        self.steps_per_epoch = parts.pace.steps_per_epoch
        self.schedule = create_schedule(config, self.steps_per_epoch, parts.pace.global_batch)
        self.step = self._make_step()
        self.journal = self._make_journal()
        self.stop = stop
        self.agreement = Agreement(processes)
        self.lost = LostVideos(
            "data.train_list", parts.train_loader, config.data.max_bad_share, processes
        )
        self.progress = Progress(
            processes, parts.pace.global_batch, config.training.epochs * self.steps_per_epoch
        )
        self.losses = LossWatch(
            config.training, parts.precision, processes, start.state, self.journal.record
        )
        self.saver = Saver(
            folder, config.training.keep, self.steps_done if start.checkpoint else None
        )
        self.saved_at = time.monotonic()

    def _make_step(self) -> TrainingStep:
        parts = self.parts
        return TrainingStep(
            parts.model,
            parts.optimizer.optimizer,
            parts.precision,
            self.schedule,
            self.config,
            self.processes,
            parts.average,
        )

    def _make_journal(self) -> Journal:
        return Journal(
            self.folder,
            self.config,
            self.steps_per_epoch,
            self.steps_done,
            self.processes.is_main,
            validation_due=self.state.step_in_epoch == self.steps_per_epoch,
        )

    @property
    def steps_done(self) -> int:
        """Finished steps of the whole run."""
        return self.parts.pace.steps_done(self.state)

    def run(self) -> TrainingResult:
        """Train to the last epoch, or until asked to stop."""
        began = time.monotonic()
        self._prepare()
        self.stop.defer()
        with self.journal, self.agreement, closing(self.step), self.saver, self.profiler:
            self._record_start()
            going = True
            while going and self.state.epoch < self.config.training.epochs:
                going = self._train_epoch() and self._finish_epoch()
            if not going:
                self._save()
            self.saver.wait()
            result = TrainingResult.of(
                self.state, self.steps_done, going, time.monotonic() - began, self.folder
            )
            self._record_end(result)
        return result

    def _prepare(self) -> None:
        """Bring folder, optimizer, loss scale and sums to where the run starts."""
        start = self.start
        if self.processes.is_main:
            text = dump_config(absolute_paths(self.given))
            self.folder.begin(text, start.path, self.steps_done)
        if start.checkpoint is not None:
            restore(start.checkpoint, self.parts.model, self.step)
            self.progress.tally.restore(start.checkpoint["unread"], self.processes)
            start.checkpoint = None  # as large as the network and its optimizer

    def _train_epoch(self) -> bool:
        """Train on the rest of the current epoch; False if asked to stop on the way."""
        self.parts.model.train()
        accumulate = self.config.training.accumulate
        batches = self._batches(self.state.step_in_epoch * accumulate)
        while self.state.step_in_epoch < self.steps_per_epoch:
            self.profiler.begin_step()
            result = self.step(islice(batches, accumulate), self.steps_done)
            self.note(METRICS)
            self.progress.tally.add(
                result.loss, result.logits, result.labels, counts=result.loss.isfinite()
            )
            self.losses.add(self.steps_done, result)
            self.state.step_in_epoch += 1
            self.journal.advance()
            self.saver.check()

            self.note(COMMUNICATION, self.steps_done)
            stop, lost = self.agreement.ask(self.stop.asked, self.lost.news)
            ends = self.state.step_in_epoch == self.steps_per_epoch
            reports = ends or self.steps_done % self.config.training.log_every == 0
            if reports:
                self._report(result)
            if lost:
                self._judge_lost_videos()
            if stop:
                return False
            if not ends and self._save_is_due(reports):
                self._save()
        return True

    def _batches(self, start: int) -> Iterator[Batch]:
        """The current epoch's batches from one on; the clock sees how long each is waited for."""
        self.parts.train_loader.set_epoch(self.state.epoch, start)
        batches = iter(self.parts.train_loader)
        self.progress.restart_clock(self.steps_done)
        while True:
            self.note(DATA)
            with self.progress.clock.waiting():
                batch = next(batches)
            yield batch

    def _report(self, result: StepResult) -> None:
        """Record the steps since the last report; here the loop waits for the device."""
        self.losses.look()
        measured = self.progress.read(self.steps_done)
        norm = float(result.gradient_norm)
        self.note(REPORTING)
        self.journal.record(
            "train",
            step=self.steps_done,
            epoch=self.state.epoch + 1,
            **measured,
            lr=self.schedule(self.steps_done - 1),
            gradient_norm=norm,
            skipped=self.state.skipped,
            overflows=self.state.overflows,
        )

    def _judge_lost_videos(self) -> None:
        """End the run, with a checkpoint, if too many videos cannot be decoded."""
        error = self.lost.exchange()
        if error is not None:
            self._save()
            self.saver.wait()
            raise self.processes.failure(error)

    def _finish_epoch(self) -> bool:
        """Validate if it is time to; False if asked to stop on the way, which leaves it due."""
        every, epochs = self.config.training.validate_every, self.config.training.epochs
        epoch = self.state.epoch + 1
        improved = False
        if epoch % every == 0 or epoch == epochs:
            self._save()  # a failure while validating costs no training
            summary = validate(self.config, self.parts, self.processes, self.stop, self.state.epoch)
            if summary is None:
                return False
            improved = self._take_validation(summary)
        self.state.epoch, self.state.step_in_epoch = epoch, 0
        self._save(best=improved)
        return True

    def _take_validation(self, summary: Summary) -> bool:
        """Record a validation; True if the network never was better."""
        state = self.state
        improved = state.best_top1 is None or summary.top1 > state.best_top1
        state.top1, state.top5 = summary.top1, summary.top5
        if improved:
            state.best_top1 = summary.top1
        self.journal.record(
            "validation",
            step=self.steps_done,
            epoch=state.epoch + 1,
            loss=summary.loss,
            top1=summary.top1,
            top5=summary.top5,
            best_top1=state.best_top1,
            clips=summary.clips,
        )
        return improved

    def _save_is_due(self, reported: bool) -> bool:
        """Whether to write a checkpoint now; all processes get the same answer."""
        training = self.config.training
        if training.save_every_steps and self.steps_done % training.save_every_steps == 0:
            return True
        if not (reported and training.save_every):
            return False
        late = time.monotonic() - self.saved_at > 60 * training.save_every
        return self.processes.any(late and self.processes.is_main)

    def _save(self, best: bool = False) -> None:
        """Have a checkpoint of this moment written; all processes must call this."""
        self.note(COMMUNICATION)
        self.losses.look()
        unread = self.processes.gather(self.progress.tally.unread())
        self.note(SAVING)
        if self.processes.is_main:
            self.saver.save(
                make_checkpoint(
                    self.state,
                    self.parts.model,
                    self.step,
                    self.given,
                    self.parts.pace,
                    unread,
                    self.parts.train_loader.classes,
                ),
                best,
                before=self.journal.sync,
            )
        self.saved_at = time.monotonic()

    def _record_start(self) -> None:
        self.journal.record(
            "start",
            step=self.steps_done,
            epoch=self.state.epoch + 1,
            output=str(self.folder.root),
            resumed_from=str(self.start.path) if self.start.path else None,
            **describe(self.config, self.parts, self.processes),
        )

    def _record_end(self, result: TrainingResult) -> None:
        if self.processes.is_main and not result.completed:
            self.folder.mark_interrupted(result.step)
        self.journal.record(
            "end",
            step=result.step,
            epoch=self.state.epoch,
            completed=result.completed,
            top1=result.top1,
            top5=result.top5,
            best_top1=result.best_top1,
            seconds=result.seconds,
        )


def _already_complete(start: Start, folder: RunFolder, processes: Processes) -> TrainingResult:
    """Nothing is left to train."""
    if processes.is_main:
        folder.interrupted.unlink(missing_ok=True)
        print(f"{start.path}: complete, all {start.state.epoch} epochs are done", flush=True)
    step = start.checkpoint["step"] if start.checkpoint else 0
    return TrainingResult.of(start.state, step, completed=True, seconds=0.0, folder=folder)


def _already_stopped(start: Start, folder: RunFolder, processes: Processes) -> TrainingResult:
    """A request to stop outlives torchrun's starting the processes again."""
    step = start.checkpoint["step"] if start.checkpoint else 0
    if processes.is_main:
        print(
            f"stopped on request after step {step}: ends again, though torchrun has started it; "
            "give the same command to go on",
            flush=True,
        )
    return TrainingResult.of(start.state, step, completed=False, seconds=0.0, folder=folder)
