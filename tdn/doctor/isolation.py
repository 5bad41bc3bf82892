"""A check in a process of its own: it may crash, hang or hit a bad library without harm.

    python -m tdn.doctor.isolation tdn.doctor.video:check

carries out one check, prints its findings as JSON, and shows what the libraries say to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tdn.doctor.findings import Finding, Level, fail
from tdn.doctor.remedies import install


class Check(NamedTuple):
    """Something to look at."""

    name: str
    """What to call it where it gives no answer."""
    function: str
    """Gives the findings, "module:function"."""
    arguments: tuple[str, ...] = ()
    """What the function is called with."""
    on_gpu: bool = False
    """Whether it computes on the GPU, which may be set to let in one process at a time."""


async def carry_out(check: Check, seconds: float, late: Level = "fail") -> list[Finding]:
    """The findings of a check, or one that says why there are none.

    Args:
        check: What to do.
        seconds: After these it is taken for hung.
        late: Level of the finding that says so.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, check.function, *check.arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # It must find the package where this process found it.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # for Ctrl-C to be this process's, and to end all that it starts
    )
    try:
        answer, errors = await asyncio.wait_for(process.communicate(), seconds)
    except asyncio.TimeoutError:
        return [_hung(check, seconds)._replace(level=late)]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A process that waits for a broken driver cannot even be killed: go on without it.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 2)
    if process.returncode == 0:
        return [Finding(*finding) for finding in json.loads(answer)]
    return [_unanswered(check, process.returncode or 0, errors.decode(errors="replace"))]


def _hung(check: Check, seconds: float) -> Finding:
    return fail(
        check.name,
        f"its check gave no answer within {seconds:g} s",
        f"tdn doctor --seconds {5 * seconds:g} if the machine is only slow; to see where it "
        f"stops: {_by_hand(check)}",
    )


def _unanswered(check: Check, status: int, errors: str) -> Finding:
    """The finding for a process that ended by a signal or an exception."""
    last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
    if status < 0:
        cause = signal.Signals(-status).name + (f": {last}" if last else "")
        return fail(check.name, f"its check died of {cause}", _by_hand(check, "-X", "faulthandler"))
    missing = re.match(r"ModuleNotFoundError: No module named '([^']+)'", last)
    if missing:
        return fail(check.name, f"not checked: {missing[1]} is not installed", install())
    if re.match(r"(ImportError|OSError): ", last) and re.search(r"\.so\b|undefined symbol", last):
        return fail(check.name, last.split(": ", 1)[1], install(again=True))
    return fail(check.name, f"its check ended with {last or f'status {status}'}", _by_hand(check))


def _by_hand(check: Check, *options: str) -> str:
    """The command that carries out a check alone."""
    words = (sys.executable, *options, "-m", __name__, check.function, *check.arguments)
    return shlex.join(words)


def main(words: Sequence[str]) -> None:
    """Carry out a check in this process: "module:function" and its arguments."""
    # Libraries may print what they like: it goes where errors go.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, _, name = words[0].partition(":")
    findings = list(getattr(importlib.import_module(module), name)(*words[1:]))
    with os.fdopen(answers, "w") as file:
        json.dump(findings, file)
    sys.stderr.flush()
    os._exit(0)  # what was asked is answered: nothing may crash or hang while libraries unload


if __name__ == "__main__":
    main(sys.argv[1:])
