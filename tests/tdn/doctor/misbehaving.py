"""Checks as bad as the libraries that real ones load."""

from __future__ import annotations

import atexit
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from tdn.doctor.findings import ok


def well(*words):
    yield ok("well", " ".join(words))


def crash():
    ctypes.string_at(0)


def abort():
    sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\n")
    sys.stderr.flush()
    os.abort()


def hang():
    time.sleep(600)


def hang_with_child(note):
    """Hangs while a process that it started holds its output open."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(note).write_text(str(child.pid))
    child.wait()


def raise_error():
    raise RuntimeError("nothing works;\n  not even this")


def miss_module():
    import tdn.no_such_library  # noqa: F401


def miss_library():
    ctypes.CDLL("libnosuchthing.so.7")


def chatter():
    os.write(1, b"a library says hello\n")
    print("and so does this")
    yield ok("chatter", "said")


def crash_at_exit():
    atexit.register(crash)
    yield ok("late", "answered")


def be_alone(folder):
    """Note if another one like it runs at the same time."""
    mark = Path(folder) / "here"
    alone = not mark.exists()
    mark.write_text("")
    time.sleep(0.3)
    mark.unlink(missing_ok=True)
    yield ok("alone" if alone else "crowded", "")
