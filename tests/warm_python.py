"""Programs in forks of an interpreter that has imported everything: a start costs 0.05 s, not 4.

    with WarmPython() as warm:
        warm.install(folder / "tdn", "-m", "tdn")      # a program; of python's words, the first
        subprocess.run([folder / "tdn", "summary", ...])

The programs are small clients. Each hands its words, folder, variables and open files to the warm
interpreter over a socket; that forks, and the fork becomes the program, with these files. Signals
go on to it, its status comes back, and it ends when its client is killed. Where a program
``python`` lies beside it, what it starts by ``sys.executable`` is such a fork, too.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

from tests import forks

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "tdn.cli",
    "tdn.commands.train",
    "tdn.commands.visualize.cam",
    "tdn.config_loading",
    "tdn.training.trainer",
    "tdn.evaluation.evaluator",
    "tdn.own_videos.run",
    "tdn.pipelines.transcoding.measuring",
    "tdn.prediction.predictor",
    "tdn.report.page",
    "tdn.summary",
    "tdn.pipelines.loader",
    "tdn.pipelines.files.subprocess_workers",
    "torch.distributed.run",
    "torch.utils.tensorboard",
    "av",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
"""What takes long to import, and may be imported before a fork: it starts no thread."""
COLD = sys.executable
"""The interpreter itself; what a fork starts by ``sys.executable`` may be a fork."""
LENGTH = 8
"""Bytes that say how long a request is."""
MOST_FILES = 100

CLIENT = r"""#!{python} -IS
import array, json, os, signal, socket, sys

words = [*{words}, *sys.argv[1:]]
python = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "python")
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
files = []
for name in os.listdir("/proc/self/fd"):
    try:
        if int(name) != server.fileno() and (int(name) < 3 or os.get_inheritable(int(name))):
            files.append(int(name))
    except OSError:  # the listing's own
        pass
request = {{"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}}
request |= {{"files": files, "python": python if os.path.exists(python) else {python!r}}}
text = json.dumps(request).encode()
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: server.send(bytes([number])))
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
server.sendmsg([len(text).to_bytes({length}, "little")], [rights])
server.sendall(text)
for number in files:  # a pipe's reader waits for the end of the program, not for this one's
    os.close(number)
answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


class WarmPython:
    """The warm interpreter, from ``with`` on to its end."""

    def __enter__(self) -> WarmPython:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._address = str(Path(self._folder.name) / "socket")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            (sys.executable, __file__, self._address),
            env=_without("TRITON_INTERPRET") | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *problem: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def install(self, program: Path, *words: str) -> None:
        """Write a program: ``python`` with these words, and then its own."""
        client = CLIENT.format(python=COLD, words=list(words), address=self._address, length=LENGTH)
        program.write_text(client)
        program.chmod(0o755)


def _without(name: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != name}


def serve(address: str) -> None:
    """Be the warm interpreter: answer clients, each with a fork that becomes its program."""
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # a collection in a fork would copy all that was imported
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    assert threading.active_count() == 1, threading.enumerate()
    print("ready", flush=True)
    forks = selectors.DefaultSelector()
    forks.register(listening, selectors.EVENT_READ)
    while True:
        for key, _ in forks.select():
            if key.fileobj is listening:
                connection, _ = listening.accept()
                fork = Fork(connection)
                forks.register(connection, selectors.EVENT_READ, fork)
                forks.register(fork.ended, selectors.EVENT_READ, fork)
            elif key.fileobj is key.data.connection:
                if not key.data.pass_signal():
                    forks.unregister(key.data.connection)
            else:
                forks.unregister(key.data.ended)
                with contextlib.suppress(KeyError):
                    forks.unregister(key.data.connection)
                key.data.close()


class Fork:
    """A program and its client, as the warm interpreter sees them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        request, files = receive(connection)
        self._process = os.fork()
        if self._process == 0:
            become(request, files)
        for file in files:
            os.close(file)
        self.ended = os.pidfd_open(self._process)
        """What is ready when the program has ended."""

    def pass_signal(self) -> bool:
        """Give the program what its client got; false, and an end to it, if that is gone."""
        number = self.connection.recv(1)
        os.kill(self._process, number[0] if number else signal.SIGKILL)
        return bool(number)

    def close(self) -> None:
        """Tell the client how the program ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        with contextlib.suppress(OSError):
            self.connection.send(bytes([status if status >= 0 else 128 - status]))
        self.connection.close()
        os.close(self.ended)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A client's request and its open files."""
    room = socket.CMSG_SPACE(MOST_FILES * array.array("i").itemsize)
    length, rights, *_ = connection.recvmsg(LENGTH, room)
    files = array.array("i")
    for _, _, data in rights:
        files.frombytes(data)
    left = int.from_bytes(length, "little")
    text = b""
    while len(text) < left:
        text += connection.recv(left - len(text))
    return json.loads(text), list(files)


def become(request: dict[str, Any], files: list[int]) -> None:
    """Be the program, to its end; never returns."""
    above = max(request["files"]) + 1
    safe = [_duplicate(file, above) for file in files]  # where no other is to be put
    for file, number in zip(safe, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    os.setpgid(0, 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable = request["python"]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    status = 1
    try:
        status = run(request["words"])
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        threading._shutdown()  # waits for threads, as an interpreter's end does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _duplicate(file: int, least: int) -> int:
    copy = fcntl.fcntl(file, fcntl.F_DUPFD, least)
    os.close(file)
    return copy


def run(words: list[str]) -> int:
    """Be ``python`` with these words; the exit status."""
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    if words[:1] == ["-u"]:  # output is not buffered for long here
        words = words[1:]
    if not words or (words[0] not in ("-m", "-c") and words[0].startswith("-")):
        os.execv(COLD, [COLD, *words])
    return forks.exit_status(lambda: forks.run(words))


if __name__ == "__main__":  # as the module that forks import, too
    importlib.import_module("tests.warm_python").serve(sys.argv[1])
