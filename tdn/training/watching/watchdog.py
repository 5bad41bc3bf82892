"""The watchdog: a thread that looks on while the main thread trains, and ends what cannot go on.

Once a second it looks whether

- this process makes progress: if not for ``training.stall_timeout`` seconds, all processes put on
  the board where they stand, and the main one prints a table, a verdict and the way to all stacks;
- another process has failed, while this one waits for it in a collective that never ends;
- another host gives no sign of life for ``training.host_timeout`` seconds;
- this process was asked to stop, and does not manage to within ``training.stop_timeout``;
- ``torchrun`` is still there: if it was killed, the run saves and ends instead of going on unseen.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from tdn.config import TrainingConfig
from tdn.errors import UserError
from tdn.training.interruption import STOPPED, StopRequest
from tdn.training.processes.board import Alarm
from tdn.training.processes.distributed import Processes
from tdn.training.processes.hosts import LOST, HostWatch, this_place
from tdn.training.processes.launch import end_deaf_launcher, this_launch
from tdn.training.processes.leaving import FAILURE, USER_ERROR
from tdn.training.processes.whereabouts import STARTING
from tdn.training.saving.run_folder import RunFolder
from tdn.training.watching.heartbeat import Heartbeat
from tdn.training.watching.loss_note import clear_loss, note_loss
from tdn.training.watching.stall_report import Stand, describe, own_stand, stacks_of

STALLED = os.EX_UNAVAILABLE
"""Exit status of a run that the watchdog ended."""

LOOK_EVERY = 1.0
"""Seconds."""
GRACE = 20.0
"""Seconds for the main thread to leave by itself when another process has failed."""
ASLEEP = 5.0
"""Seconds by which this thread wakes up too late if the whole process was suspended."""
COLLECT = 10.0
"""Seconds in which all processes have to say where they stand."""
SHARED = 3.0
"""Seconds in which the others have seen an alarm: the board may end with the main process."""


class Watchdog:
    """Watches over this process of a run. A context: it looks inside.

    Args:
        training: ``stall_timeout``, ``stall_exit`` and ``host_timeout`` are read.
        processes: Those of the run; their whereabouts tell the progress.
        stop: What asks this process to stop.
        folder: Gets stall.txt with everybody's stacks.
    """

    def __init__(
        self,
        training: TrainingConfig,
        processes: Processes,
        stop: StopRequest,
        folder: RunFolder,
    ) -> None:
        self._timeout = training.stall_timeout
        self._exits = training.stall_exit
        self._processes = processes
        self._stop = stop
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tdn-watchdog", daemon=True)
        self._parent = os.getppid() if this_launch().name is not None else None
        self._stalls = 0
        self._excused_at = 0.0
        self._failed_at: float | None = None
        self._heartbeat = Heartbeat()
        self._hosts = HostWatch(training.host_timeout, processes.rank, processes.board)
        self._lost: Alarm | None = None

    def __enter__(self) -> Watchdog:
        self._heartbeat.beat()
        if self._processes.is_main:
            clear_loss()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        self._heartbeat.stop()
        self._hosts.leave()

    def _run(self) -> None:
        """Watch; nobody would notice that a process goes on unwatched, so it ends."""
        try:
            self._watch()
        except Exception as error:
            traceback.print_exc()
            rank, what = self._processes.rank, f"{type(error).__name__}: {error}"
            message = f"process {rank} failed: its watchdog ended with {what}"
            try:
                self._processes.board.raise_alarm(Alarm(rank, FAILURE, message))
            finally:
                self._end(FAILURE, message)

    def _watch(self) -> None:
        every = min(LOOK_EVERY, self._hosts.every)
        if self._timeout:
            every = min(every, self._timeout / 4)
        while True:
            waits_from = time.monotonic()
            if self._over.wait(every):
                return
            now = time.monotonic()
            if now - waits_from > every + ASLEEP:  # Ctrl-Z and fg: nobody made progress
                self._excused_at = now
                self._hosts.excuse()
            self._heartbeat.beat()
            self._look_at_request()
            failure = self._look_at_hosts() or self._processes.board.alarm()
            if failure is not None:
                self._look_at_failure(failure)
                continue
            stall = self._processes.board.alarm(self._stall) or self._look_at_progress()
            if stall is not None:
                self._report(stall)

    @property
    def _stall(self) -> str:
        """What the next stall is called on the board."""
        return f"stall {self._stalls}"

    def _look_at_request(self) -> None:
        if self._parent is not None and os.getppid() != self._parent:
            self._stop.ask()
        reason = self._stop.impatience
        if reason is not None:
            self._mark()
            self._end(STOPPED, f"{reason}, and is still {self._words()}: ends now")

    def _look_at_progress(self) -> Alarm | None:
        moment = self._processes.whereabouts.now
        if not self._timeout or moment.phase == STARTING:  # a long list is long to index
            return None
        idle = time.monotonic() - max(moment.since, self._excused_at)
        if idle < self._timeout:
            return None
        rank = self._processes.rank
        alarm = Alarm(rank, STALLED, f"no progress for {idle:.0f} s")
        return self._processes.board.raise_alarm(alarm, self._stall)

    def _look_at_hosts(self) -> Alarm | None:
        """The loss of a host, on the board where that is in reach."""
        if self._lost is None:
            lost = self._hosts.look()
            if lost is not None:
                note_loss()
                self._lost = self._processes.board.raise_alarm(lost)
        return self._lost

    def _look_at_failure(self, alarm: Alarm) -> None:
        """Give the main thread time to leave with the alarm; then end in its place."""
        if alarm.status == LOST:  # which the main thread cannot know
            self._end_without(alarm)
        self._failed_at = self._failed_at or time.monotonic()
        if time.monotonic() - self._failed_at > GRACE:
            told = self._processes.is_main and alarm.status in (USER_ERROR, FAILURE)
            if alarm.status == STOPPED:
                self._mark()
            self._end(alarm.status, alarm.message if told else None)

    def _report(self, alarm: Alarm) -> None:
        """Say where this process stands; on the main one, tell where all do."""
        processes, number = self._processes, self._stalls
        board = processes.board
        board.write(f"stand {number} {processes.rank}", own_stand(processes).to_json())
        if processes.is_main:
            deadline = time.monotonic() + COLLECT
            texts = []
            for rank in range(processes.world_size):
                left = max(0.0, deadline - time.monotonic())
                texts.append(board.read(f"stand {number} {rank}", wait=left))
            stands = [None if text is None else Stand.from_json(text) for text in texts]
            path = self._folder.root / "stall.txt"
            _print(f"{alarm.message}\n{describe(stands)}\nstacks of all threads: {path}")
            # The storage may be what everybody waits for.
            writer = threading.Thread(target=_write, args=(path, stacks_of(stands)), daemon=True)
            writer.start()
            writer.join(COLLECT)
            board.write(f"told {number}", "")
        if self._exits:
            board.read(f"told {number}", wait=2 * COLLECT)
            self._end(STALLED, None)
        self._stalls += 1
        self._excused_at = time.monotonic()

    def _mark(self) -> None:
        """Leave the marker, unless the disk is full or the main thread is just at it."""
        if self._processes.is_main:
            with contextlib.suppress(UserError):
                self._folder.mark_interrupted()

    def _words(self) -> str:
        now = self._processes.whereabouts.now
        return f"{now.phase}, after step {now.step}"

    def _end_without(self, alarm: Alarm) -> None:
        """End because a host is lost: said by the main process, or on every host that lost it."""
        if alarm.rank == self._processes.rank and this_place().speaks:
            _print(alarm.message)
        if self._processes.is_main:
            time.sleep(SHARED)
        if self._parent is not None:
            end_deaf_launcher(self._parent)
        self._end(LOST, None)

    def _end(self, status: int, message: str | None) -> None:
        if message is not None:
            _print(message)
        sys.stdout.flush()
        os._exit(status)


def _write(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        path.write_text(text)


def _print(message: str) -> None:
    print(f"tdn: {message}", file=sys.stderr, flush=True)
