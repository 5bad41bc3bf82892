"""Training on one process here, or on one for each GPU."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tdn.config import Config
from tdn.config_loading import absolute_paths, dump_config
from tdn.files import write_text_atomically
from tdn.launcher.statuses import STOPPED, shell_status
from tdn.training.trainer import train

_PASSED_ON = (signal.SIGTERM, signal.SIGUSR2)


def train_on(config: Config, processes: int) -> int:
    """Train, or go on training.

    Args:
        config: The run's.
        processes: How many are to train together.

    Returns:
        The exit status of ``tdn train``.
    """
    if processes == 1:
        return 0 if train(config).completed else STOPPED
    launcher = ["-m", "tdn.launcher", "--standalone", f"--nproc-per-node={processes}"]
    # Not config.yaml, which says what is trained with, and not what is refused.
    file = Path(config.output) / "asked-for.yaml"
    write_text_atomically(file, dump_config(absolute_paths(config)))
    command = ["-m", "tdn", "train", "--config", str(file)]
    try:
        return run_to_its_end([sys.executable, *launcher, *command])
    finally:
        file.unlink(missing_ok=True)


def run_to_its_end(command: Sequence[str]) -> int:
    """Run a command that ends by itself when it is asked to, as Ctrl-C asks all of a terminal's.

    Requests to this process go to the command; this one waits for its end.

    Returns:
        Its exit status, as a shell has it.
    """
    process = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's shape
        process.send_signal(number)

    former: dict[signal.Signals, Any] = {
        number: signal.signal(number, pass_on) for number in _PASSED_ON
    }
    former[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return shell_status(process.wait())
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
