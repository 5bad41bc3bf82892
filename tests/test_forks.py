"""A fork of a launcher is to it and to the world what a Python of its own is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAUNCHER = """
import json, os, signal, subprocess, sys
from tests import forks

forks.HEAVY = ("json",)
signal.signal(signal.SIGTERM, print)
environment = {"PATH": "/bin", "WORD": "given", "PYTHONPATH": os.environ["PYTHONPATH"]}
found = {}
for case, words in json.loads(sys.argv[1]).items():
    with open(case, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", *words],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found[case] = process.wait(), open(case).read().splitlines()
print(json.dumps(found))
"""
SAYS = """
import atexit, os, signal, sys, threading, time
atexit.register(print, "last words")
threading.Thread(target=lambda: (time.sleep(0.1), print("a thread's"))).start()
print(sys.argv[1:], sys.path[0], __name__, sys.modules["__main__"].__dict__ is globals())
print(sorted({*os.environ} - {"LC_CTYPE"}), os.environ["WORD"])
print(os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print([name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")])
"""
CASES = {
    "module": ("-m", "says", "a word"),
    "script": ("says.py", "a word"),
    "code": ("-c", SAYS, "a word"),
}
ENDS = {
    "done": "",
    "status": "sys.exit(3)",
    "words": "sys.exit('gone')",
    "defect": "print(end='before'); 1 / 0",
    "killed": "os.kill(os.getpid(), 9)",
    "asked": "os.kill(os.getpid(), 15); time.sleep(9)",
    "Ctrl-C": "os.kill(os.getpid(), 2); time.sleep(9)",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """How everything ends and what it says, as forks of a launcher and by themselves."""
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "launcher.py").write_text(LAUNCHER)
    (folder / "says.py").write_text(SAYS)
    ends = {name: ("-c", f"import os, sys, time; {end}") for name, end in ENDS.items()}
    return [
        json.loads(
            subprocess.check_output(
                [sys.executable, "-m", *launcher, json.dumps(CASES | ends)],
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"},
                cwd=folder,
            )
        )
        for launcher in (("tests.forks", "launcher"), ("launcher",))
    ]


@pytest.mark.parametrize("case", CASES)
def test_it_has_words_variables_files_and_a_session_of_its_own(found, case):
    fork, python = (each[case] for each in found)
    assert fork == python
    assert fork[1][-1] == "last words"
    assert "['a word']" in fork[1][0]


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_as_it_would_by_itself(found, end):
    (status, said), (python_status, python_said) = (each[end] for each in found)
    assert status == python_status
    assert said[-1:] == python_said[-1:]
