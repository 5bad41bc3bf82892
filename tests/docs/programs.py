"""The programs of a session: carried out on small data, or by a stand-in.

python -m tests.docs.programs NAME WORDS...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests import warm_python
from tests.docs import small, stand_ins

SOME_DOUBT = {"benchmarks/compare.py": 3}
"""Programs, and the status that is as good as 0: rows that others disturbed are not compared."""


def main(program: str, words: list[str]) -> int:
    """Be a program; gives the exit status."""
    if program == "tdn":
        return small.main(words)
    if program == "torchrun":
        os.environ["PYTHON_EXEC"] = sys.executable  # of the processes that it starts
        return warm_python.run(["-m", "torch.distributed.run", *words])
    if program != "python":
        return stand_ins.main([program, *words])
    words = words[words[:1] == ["-u"] :]
    if _chooses_interpreter(words):
        os.execv(warm_python.COLD, [warm_python.COLD, *words])
    run = words[words[:1] == ["-m"] :]
    if run[:1] == ["tdn"]:
        return small.main(run[1:])
    if stand_ins.find(run):
        return stand_ins.main(run)
    status = warm_python.run(words)
    return 0 if status == SOME_DOUBT.get(words[0]) else status


def _chooses_interpreter(words: list[str]) -> bool:
    """Whether a program decides how Triton is imported, which the warm interpreter has done."""
    texts = [Path(word).read_text() for word in words if word.endswith(".python")]
    return any("TRITON_INTERPRET" in text for text in (*os.environ, *texts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
