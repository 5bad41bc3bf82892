"""Programs that a page starts and a test does not: each has a reason, and a test in its place.

A stand-in reads its words as far as that takes no time: a benchmark's own parser reads those of a
benchmark, ``make -n`` finds the targets, ``launch/torchrun.sh --print`` the hosts; what is not ours
must have options that are known here. Files of the product must be there, a command of ``tdn`` must
have only options that it knows, and a configuration that loads.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tdn.cli import COMMANDS
from tests.docs import small

ROOT = Path(__file__).resolve().parents[2]
OURS = ("benchmarks/", "configs/", "docs/", "launch/", "tests/")
BENCHMARK = re.compile(r"benchmarks[./](\w+?)(?:\.py)?")
"""Words that name one."""


class StandIn(NamedTuple):
    """Why a program is not run, and what does it instead."""

    reason: str
    test: str = ""
    """Path in the repository of what runs it; none if it is not ours."""
    options: tuple[str, ...] = ()
    """That a program which is not ours has."""
    answer: str = ""
    """What it prints."""


SBATCH = ("--parsable", "--nodes", "--ntasks-per-node", "--exclusive", "--mem", "--wrap")
STAND_INS = {
    "git clone": StandIn("needs a network"),
    "make": StandIn("takes minutes, and installs", "tests/test_makefile.py"),
    "sbatch": StandIn("needs Slurm", "tests/launch/test_slurm_cluster.py", SBATCH, "71234"),
    "tail": StandIn("never ends", options=("-F",)),
    "docker build": StandIn("needs a Docker daemon", options=("-f", "-t")),
    "docker push": StandIn("needs a registry"),
    "kubectl apply": StandIn("needs a Kubernetes", options=("-f",)),
    "kubectl logs": StandIn("needs a Kubernetes", options=("-f", "-l")),
    "launch/node.sh": StandIn("trains as it is configured", "tests/launch/test_node_script.py"),
    "launch/torchrun.sh": StandIn("needs hosts", "tests/launch/test_two_hosts.py"),
    "benchmarks.all": StandIn("measures for minutes", "tests/benchmarks/test_all.py"),
    "benchmarks.charts": StandIn("writes README.md", "tests/benchmarks/test_charts.py"),
    "benchmarks/kernels.py": StandIn("takes minutes", "tests/benchmarks/test_kernels.py"),
    "benchmarks/pipeline.py": StandIn("measures for minutes", "tests/benchmarks/test_pipeline.py"),
    "benchmarks/training.py": StandIn("measures for minutes", "tests/benchmarks/test_training.py"),
    "benchmarks/scaling.py": StandIn("measures for minutes", "tests/benchmarks/test_scaling.py"),
}
"""By the first words, of a program or of what ``python`` is to run."""
TAKE_COMMANDS = ("launch/node.sh", "launch/torchrun.sh", "launch/slurm.sbatch")
"""Scripts that are to be given a command of ``tdn``."""


def find(words: Sequence[str]) -> StandIn | None:
    """The stand-in for a command."""
    line = " ".join(words)
    return next(
        (found for name, found in STAND_INS.items() if f"{line} ".startswith(f"{name} ")), None
    )


class _Read(Exception):  # noqa: N818
    """A program has read its words."""


def read_benchmark(name: str, words: list[str]) -> None:
    """Let a benchmark read its words, and no more.

    Raises:
        SystemExit: One of them is wrong.
    """
    usual = argparse.ArgumentParser.parse_args

    def parse_args(*given: object) -> None:
        usual(*given)  # type: ignore[call-overload]
        raise _Read

    program = importlib.import_module(f"benchmarks.{name}")
    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign, assignment]
    try:
        program.main(words)
    except _Read:
        return
    finally:
        argparse.ArgumentParser.parse_args = usual  # type: ignore[method-assign]
    raise SystemExit(f"benchmarks.{name} reads no words")


def check(words: list[str]) -> None:
    """Look at a command's words.

    Raises:
        SystemExit: A file of the product is not there, or a program has no such option or target.
        UserError: An option of ``tdn`` or a key is wrong.
    """
    flat = [part for word in words for part in shlex.split(word)]  # sbatch wraps a whole command
    for word in flat:
        if word.startswith(OURS) and not (ROOT / word).exists():
            raise SystemExit(f"{word} is not there")
    for place, word in enumerate(flat):
        if named := BENCHMARK.fullmatch(word):
            read_benchmark(named[1], flat[place + 1 :])
    program, found = words[0], find(words)
    place = next((place for place, word in enumerate(words) if word in COMMANDS), len(words))
    if program == "make":
        make = str(shutil.which("make", path=os.defpath))
        _run(make, f"--directory={ROOT}", "--dry-run", *words[1:])
    elif program == "launch/torchrun.sh":
        _run(str(ROOT / program), "--print", *words[1:])
    elif found is not None and not program.startswith("benchmarks"):
        for word in words[1:place]:
            if word.startswith("-") and word.partition("=")[0] not in found.options:
                raise SystemExit(f"{program}: no option {word} is known in {__file__}")
    if program != "make" and words[place:]:
        small.check(words[place:])
    elif {program, words[-1]} & {*TAKE_COMMANDS}:
        raise SystemExit(f"{words[-1]}: no command of tdn follows")


def _run(*command: str) -> None:
    everything = os.environ | {"PATH": os.defpath}
    done = subprocess.run(command, env=everything, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def main(words: list[str]) -> int:
    """Be a program, by its name and words; gives the exit status."""
    found = find(words)
    if found is None:
        raise SystemExit(f"{' '.join(words)}: is not run, and has no stand-in in {__file__}")
    check(words)
    if found.answer:
        print(found.answer)
    if "--out" in words:  # results to compare
        shutil.copytree(ROOT / "benchmarks" / "results", words[words.index("--out") + 1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
