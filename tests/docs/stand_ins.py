"""Programs that a page starts and a test does not: each has a reason, and a test in its place.

A stand-in looks at its words: files of the product must be there, a command of ``tdn`` among them
must have only options that it knows, and a configuration that loads.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from tdn.cli import COMMANDS
from tests.docs import small

ROOT = Path(__file__).resolve().parents[2]
OURS = ("benchmarks/", "configs/", "docs/", "launch/", "tests/")


class StandIn(NamedTuple):
    """Why a program is not run, and what does it instead."""

    reason: str
    test: str
    """Path in the repository."""
    answer: str = ""
    """What it prints."""


STAND_INS = {
    "git clone": StandIn("needs a network", "tests/launch/test_slurm_script.py"),
    "make demo": StandIn("takes minutes, and installs", "tests/tdn/demo"),
    "make test": StandIn("is what runs this", "tests/test_makefile.py"),
    "make .venv/installed": StandIn("installs for minutes", "tests/test_makefile.py"),
    "sbatch": StandIn("needs Slurm", "tests/launch/test_slurm_cluster.py", "71234"),
    "tail -F": StandIn("never ends", "tests/launch/test_slurm_script.py"),
    "docker build": StandIn("needs a Docker daemon", "tests/launch/test_manifests.py"),
    "docker push": StandIn("needs a registry", "tests/launch/test_manifests.py"),
    "kubectl apply": StandIn("needs a Kubernetes", "tests/launch/test_manifests.py"),
    "kubectl logs": StandIn("needs a Kubernetes", "tests/launch/test_pod.py"),
    "launch/node.sh": StandIn("examines the machine first", "tests/launch/test_node_script.py"),
    "launch/torchrun.sh": StandIn("needs hosts", "tests/launch/test_two_hosts.py"),
    "launch/preflight.py": StandIn("measures for seconds", "tests/launch/test_preflight.py"),
    "benchmarks.all": StandIn("measures for minutes", "tests/benchmarks/test_all.py"),
    "benchmarks.charts": StandIn("writes README.md", "tests/benchmarks/test_charts.py"),
    "benchmarks.resources": StandIn("compiles cold", "tests/benchmarks/test_resources.py"),
    "benchmarks/kernels.py": StandIn("takes minutes", "tests/benchmarks/test_kernels.py"),
    "benchmarks/compare.py": StandIn("needs results", "tests/benchmarks/test_compare.py"),
    "benchmarks/pipeline.py": StandIn("measures for minutes", "tests/benchmarks/test_pipeline.py"),
    "benchmarks/training.py": StandIn("measures for minutes", "tests/benchmarks/test_training.py"),
    "benchmarks/scaling.py": StandIn("measures for minutes", "tests/benchmarks/test_scaling.py"),
}
"""By the first words, of a program or of what ``python`` is to run."""


def find(words: list[str]) -> StandIn | None:
    """The stand-in for a command."""
    line = " ".join(words)
    return next(
        (found for name, found in STAND_INS.items() if f"{line} ".startswith(f"{name} ")), None
    )


def check(words: list[str]) -> None:
    """Look at a command's words.

    Raises:
        SystemExit: A file of the product is not there, or a script of it has no such option.
        UserError: An option of ``tdn`` or a key is wrong.
    """
    for word in " ".join(words).split():
        if word.startswith(OURS) and not (ROOT / word).exists():
            raise SystemExit(f"{word} is not there")
    command = next((place for place, word in enumerate(words) if word in COMMANDS), len(words))
    if words[0] != "make" and words[command:]:
        small.check(words[command:])
    folder = ROOT / words[0].partition("/")[0].partition(".")[0]
    if folder.is_dir():  # one of our scripts
        text = "".join(file.read_text() for file in folder.glob("*.*") if file.is_file())
        for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(words[:command])):
            if not re.search(rf"{option}(?![a-z-])", text):
                raise SystemExit(f"{words[0]} has no option {option}")


def main(words: list[str]) -> int:
    """Be a program, by its name and words; gives the exit status."""
    found = find(words)
    if found is None:
        raise SystemExit(f"{' '.join(words)}: is not run, and has no stand-in in {__file__}")
    check(words)
    if found.answer:
        print(found.answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
