"""Trials: a real training on two processes is killed, goes on, and must come to the same end.

What is killed with SIGKILL at a random moment: one process, which torchrun starts again with the
others; torchrun itself, after which a command is given again at once, while the processes that it
left behind are still ending; or everything, and again a command. Or torchrun is asked to stop. The
first command is to start over: what torchrun starts again must not do that.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.tdn.training.test_resuming import record
from tests.videos import write_list, write_video

KINDS = ("process", "torchrun", "everything", "request")
ROOT = Path(__file__).parents[3]
EPOCHS, STEPS = 3, 6
MISTAKE = 2
"""The step in which a process meets a mistake, from 0; once it has been saved, that is over."""
PACE = 0.05
"""Seconds that a step takes at least: who kills, on a busy machine, too, must see it run."""
TIME_LIMIT = 120
"""Seconds for anything."""

CONFIG = """
output: OUTPUT
model: {name: tdn_resnet10, num_segments: 2, num_classes: 3, width: 8}
data: {train_list: LIST, validation_list: LIST, batch_size: 2, crop_size: 40, short_side: 40,
  num_threads: 1}
schedule: {name: cosine}
training: {epochs: EPOCHS, log_every: 2, save_every_steps: 1, keep: 2, cpu_threads: 1, device: cpu}
logging: {tensorboard: false}
"""


def make_videos(folder: Path) -> Path:
    """A list of videos for some steps of two clips on each of two processes."""
    folder.mkdir()
    rows = []
    for row in range(4 * STEPS + 1):
        path = write_video(folder / f"clip {row}", 8 + row, codec="mpeg4", size=(48, 64))
        rows.append((path.name, row % 3))
    return write_list(folder / "list.txt", rows)


class Trial:
    """A run in a folder of its own.

    Args:
        folder: For the configuration and the run.
        videos: From ``make_videos``.
        seed: Of the moments at which something is killed.
    """

    def __init__(self, folder: Path, videos: Path, seed: int = 0) -> None:
        folder.mkdir()
        self.run = folder / "run"
        self.config = folder / "config.yaml"
        text = CONFIG.replace("LIST", f"'{videos}'").replace("OUTPUT", f"'{self.run}'")
        self.config.write_text(text.replace("EPOCHS", str(EPOCHS)))
        self.output = folder / "output.txt"
        self.began: float | None = None
        """The time of the log's first line, when something was killed first."""
        self._random = random.Random(seed)

    def survive(self, kinds: Sequence[str], mistake: bool = False) -> None:
        """Train to the end, while one after the other is killed.

        Args:
            kinds: Of ``KINDS``; a process only where torchrun has not been killed before.
            mistake: Let the second process also stall and then meet a user's mistake, in its first
                start.
        """
        moments = self._moments(len(kinds))
        left = list(zip(kinds, moments, strict=True))
        resume = "none"
        while True:
            with self._torchrun(resume, mistake) as torchrun:
                while left:
                    kind, step = left.pop(0)
                    step = max(step, MISTAKE) if mistake else step
                    if kind == "request":  # what has not begun leaves no marker
                        step = max(step, self._saved() + 1)
                    processes = self._at_work(step, torchrun)
                    self.began = self.began or self._first_time()
                    time.sleep(self._random.uniform(0, 0.1))
                    self._kill(kind, torchrun, processes)
                    if kind != "process":
                        break
                else:
                    assert torchrun.wait(TIME_LIMIT) == 0, self.output.read_text()
                    return
            resume, mistake = "auto", False

    def _moments(self, count: int) -> list[int]:
        """Steps after which to kill, rising; the run has an epoch more to go."""
        return sorted(self._random.sample(range(1, (EPOCHS - 1) * STEPS + 1), count))

    @contextmanager
    def _torchrun(self, resume: str, mistake: bool) -> Iterator[subprocess.Popen[bytes]]:
        words = [
            *("-m", "tests.forks", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "--max-restarts", "3"),
            *("-m", "tests.tdn.training.kill_trials", str(self.run)),
            *("--config", str(self.config), "--training.resume", resume),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        environment |= {"TRIAL_MISTAKE": "1"} if mistake else {}
        with self.output.open("ab") as output:
            torchrun = subprocess.Popen(
                [sys.executable, *words], stdout=output, stderr=output, env=environment, cwd=ROOT
            )
        try:
            yield torchrun
        finally:
            torchrun.kill()
            torchrun.wait()

    def _at_work(self, step: int, torchrun: subprocess.Popen[bytes]) -> list[int]:
        """Wait until the run has saved a step; gives its processes."""
        deadline = time.monotonic() + TIME_LIMIT
        while True:
            processes = _children(torchrun.pid)
            if len(processes) == 2 and self._saved() >= step:
                return processes
            assert torchrun.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)

    def _saved(self) -> int:
        """The step of the newest checkpoint but one, by its name; 0 if there is none."""
        names = [path.stem for path in (self.run / "checkpoints").glob("step-*.pt")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def _first_time(self) -> float:
        with (self.run / "log.jsonl").open() as log:
            return json.loads(log.readline())["time"]

    def _kill(self, kind: str, torchrun: subprocess.Popen[bytes], processes: Sequence[int]) -> None:
        if kind == "request":
            torchrun.terminate()
            torchrun.wait(TIME_LIMIT)
            assert json.loads((self.run / "interrupted.json").read_text())["step"]
            return
        doomed = {
            "process": [self._random.choice(processes)],
            "torchrun": [torchrun.pid],
            "everything": [torchrun.pid, *processes],
        }
        for process in doomed[kind]:
            os.kill(process, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    """The processes of the run that torchrun has started."""
    try:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return sorted(map(int, found))


def assert_same_end(trial: Trial, whole: Trial) -> None:
    """The same weights, optimizer and best checkpoint to the bit, and the same log."""
    for name in ("last.pt", "best.pt"):
        one, other = (
            torch.load(each.run / "checkpoints" / name, weights_only=True)
            for each in (trial, whole)
        )
        assert one["step"] == other["step"]
        assert one["model"].keys() == other["model"].keys()
        for key, value in other["model"].items():
            assert torch.equal(one["model"][key], value), key
        for key, state in other["optimizer"]["state"].items():
            for what, value in state.items():
                assert torch.equal(one["optimizer"]["state"][key][what], value), key
    assert record(trial.run) == record(whole.run)
    leftovers = {path.name for path in trial.run.rglob("*") if path.name.startswith(".")}
    assert not {name for name in leftovers if "partial" not in name}


def _hold_up_until_told(stalls: Path) -> None:
    """Stall until a report shows this very call: a busy machine may have had others before."""
    while not stalls.exists() or "_hold_up_until_told" not in stalls.read_text():
        time.sleep(0.02)


def main() -> int:
    """What torchrun starts: ``tdn train``, not too fast; one process may meet a mistake."""
    from tdn.cli import main as command_line
    from tdn.errors import UserError
    from tdn.pipelines.loader import Loader

    run, *words = sys.argv[1:]
    fails = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and "TRIAL_MISTAKE" in os.environ
    if fails:
        words += ["--training.stall_timeout", "1"]
    batches = Loader.__iter__

    def paced(self: Loader) -> Iterator[object]:
        for number, batch in enumerate(batches(self)):
            time.sleep(PACE)
            if fails and number == MISTAKE and os.environ["RANK"] == "1":
                _hold_up_until_told(Path(run, "stall.txt"))
                raise UserError("clip 1.mp4: gone")
            yield batch

    Loader.__iter__ = paced  # type: ignore[method-assign]
    return command_line(["train", *words])


if __name__ == "__main__":
    sys.exit(main())
