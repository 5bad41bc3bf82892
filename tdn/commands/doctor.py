"""Look at this machine: what is there, what is missing, and what to type to mend it.

Every check is a line: ok, warn (works, but not as well as it could) or fail (training would stop or
never start), what it is about, and what was found; below a warn or a fail stands what to type.
Each runs in a process of its own, so that a library that crashes or hangs is a finding too. A
machine without a GPU is a valid one.

With a configuration, and any of its keys as options, also what that asks of the machine: device,
lists, memory, room. Put doctor in place of train in a command, and it says whether that would run.

  tdn doctor
  tdn doctor --config my.yaml --output runs/mine --data.train_list train.txt
  srun --ntasks-per-node 1 --label tdn doctor

Exit status: 0 if nothing failed, 1 otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tdn.errors import UserError

HELP = "look at this machine: what is missing, and what to type"
CONFIGURED = "optional"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--json", metavar="FILE", help="write the findings to this file, too")
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="for each check; one that takes longer counts as hung (60)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out the checks; 0 if none failed."""
    if not arguments.seconds > 0:
        raise UserError(f"--seconds: {arguments.seconds:g} does not fit; give a number above 0")
    from tdn.doctor.examination import all_checks, examine, summary, write_report

    checks = all_checks(arguments.config, arguments.overrides)
    findings = examine(checks, arguments.seconds, lambda finding: print(finding, flush=True))
    print(summary(findings))
    if arguments.json is not None:
        write_report(findings, Path(arguments.json))
    return int(any(finding.level == "fail" for finding in findings))
