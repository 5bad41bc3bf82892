"""A launcher whose processes are forks of it, so that they need not import torch and DALI again.

    python -m tests.forks torch.distributed.run --standalone --nproc-per-node 2 -m tdn train ...

is ``python -m torch.distributed.run ...``. Its processes are its children as ever, in sessions of
their own, with their own environment, output and status. But each takes a few hundredths of a
second instead of some seconds, also when it is started again.
"""

from __future__ import annotations

import atexit
import importlib
import inspect
import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = (
    "tdn.cli",
    "tdn.training.trainer",
    "tdn.evaluation.evaluator",
    "tdn.pipelines.loader",
    "torch._dynamo",  # of every optimizer
)
"""What the processes need, and its imports."""
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

_PYTHON = """#!/bin/sh
# Python, but for the launcher: see tests/forks.py.
[ "$1 $2" != "-m tdn.launcher" ] || { shift; set -- -m tests.forks "$@"; }
exec 'PYTHON' "$@"
"""


def python_that_forks(folder: Path) -> Path:
    """A program for launch/node.sh, as Python; its launches' processes are forks.

    It finds ``tests`` in the working directory or by PYTHONPATH.

    Args:
        folder: Where to put it.
    """
    path = folder / "python that forks"
    path.write_text(_PYTHON.replace("PYTHON'", f"{sys.executable}'"))
    path.chmod(0o755)
    return path


class _Forking(subprocess.Popen):
    """Starts this Python by forking, other programs as ever."""

    _launcher = os.getpid()

    def _execute_child(self, *given: object) -> None:
        bound = inspect.signature(super()._execute_child).bind(*given)
        bound.apply_defaults()
        words = list(map(str, bound.arguments["args"]))
        if os.getpid() != self._launcher or words[0] != sys.executable:
            super()._execute_child(*given)
            return
        for name in HEAVY:
            importlib.import_module(name)
        outputs = bound.arguments["c2pwrite"], bound.arguments["errwrite"]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        self._child_created = True
        if self.pid == 0:
            _become(words[1:], bound.arguments["env"], *outputs)


def _become(words: Sequence[str], environment: dict[str, str], out: int, errors: int) -> None:
    """Be the process of these words from now on, to its end."""
    status = 1
    try:
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, place in ((out, 1), (errors, 2)):
            if number != -1:
                os.dup2(number, place)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdout, sys.stderr = _output(1), _output(2)
        logging.disable(logging.NOTSET)  # the launcher's
        os.environ.clear()
        os.environ.update(environment)
        status = exit_status(lambda: run([word for word in words if word != "-u"]))
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(words: Sequence[str]) -> None:
    """As Python runs them: ``-m module``, ``-c code`` or a script, and their arguments."""
    first, *rest = words
    if first == "-m":
        sys.argv, sys.path[0] = list(rest), str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(rest[0], main.__dict__)
    else:
        sys.argv, sys.path[0] = list(words), str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


def _output(place: int) -> io.TextIOWrapper:
    """What is written is there at once, as with ``python -u``."""
    return io.TextIOWrapper(open(place, "wb", 0, closefd=False), write_through=True)


def exit_status(program: Callable[[], None]) -> int:
    """Run to the end; the exit status."""
    try:
        program()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Be the launcher that this program's words name."""
    subprocess.Popen = _Forking  # type: ignore[misc]
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    importlib.import_module("tests.forks").main()
