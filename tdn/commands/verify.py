"""Measure the published accuracies, as far as you have the data and the checkpoints.

Where nothing can be measured, it shows what is claimed and what each claim needs, and writes
nothing. Networks are evaluated as their recipe and the claim's protocol say; two networks are put
together by the published rule.

  tdn verify
  tdn verify --data ssv1=/data/ssv1 --data ssv2=/data/ssv2 --checkpoints /checkpoints
  torchrun --nproc-per-node gpu -m tdn verify --data kinetics400=/data/k400 \\
    --checkpoint kinetics400_r50_8f=k400_8f.pth.tar

ROOT is the folder that tdn prepare takes; its lists are made if they are not there yet. Writes
report.md and report.json to --output, and the scores of every evaluation; a former report is kept
under its date. A claim is Verified if it was measured in this very run, on the whole validation
list with no video left out, within the tolerance that the claims file states; else Not reproduced,
or Not run.

Exit status: 0, or 1 if something was not reproduced or could not be evaluated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tdn.commands.configuration import told_once
from tdn.errors import UserError
from tdn.recipes import find_recipe

HELP = "measure the published accuracies with your data and checkpoints"

_SETTINGS = (
    "data.batch_size",
    "data.num_threads",
    "data.prefetch",
    "data.memory_limit",
    "training.device",
    "training.precision",
    "training.cpu_threads",
    "logging.progress",
)
"""Keys that change how fast a number is measured, not what is measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--claims",
        metavar="FILE",
        default="configs/claims.yaml",
        help="file of claims; its recipes lie beside it (configs/claims.yaml)",
    )
    parser.add_argument(
        "--data",
        metavar="NAME=ROOT",
        action="append",
        default=[],
        help="folder of a data set; as often as needed",
    )
    parser.add_argument(
        "--labels",
        metavar="NAME=DIR",
        action="append",
        default=[],
        help="folder of a data set's label files, where they are not in ROOT; as often as needed",
    )
    parser.add_argument(
        "--checkpoints",
        metavar="DIR",
        default="checkpoints",
        help="checkpoints named by recipe: ssv1_r50_8f.pt, .pth, .tar or .pth.tar (checkpoints)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="RECIPE=FILE",
        action="append",
        default=[],
        help="checkpoint of another name; as often as needed",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"how to evaluate here: {', '.join(_SETTINGS)}",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="runs/verify", help="folder (runs/verify)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, report, and print the table."""
    from tdn.verification.claims import read_claims
    from tdn.verification.planning import Sources
    from tdn.verification.report import Report, keep_former
    from tdn.verification.verifying import Verification

    with told_once():
        settings = _settings(_pairs("--set", arguments.set, "data.batch_size=4"))
        data = _pairs("--data", arguments.data, "ssv1=/data/ssv1")
        labels = _pairs("--labels", arguments.labels, "ssv1=/data/labels")
        files = _pairs("--checkpoint", arguments.checkpoint, "ssv1_r50_8f=best.pth.tar")
        claims = read_claims(find_recipe(arguments.claims))
    paths = {recipe: Path(file) for recipe, file in files.items()}
    sources = Sources(data, labels, Path(arguments.checkpoints), paths)
    verification = Verification(claims, sources, Path(arguments.output), settings)
    if verification.is_main and not verification.is_idle:
        keep_former(verification.output)
    for _ in verification.run():
        if verification.is_main:
            Report(verification).write()  # an interrupted run leaves what it has
    if not verification.is_main:
        return 0
    report = Report(verification)
    print(report if verification.is_idle else f"{report}; {report.folder / 'report.md'}")
    return int(report.failed)


def _pairs(option: str, words: Sequence[str], example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not (name and mark and value):
            raise UserError(f"{option}: '{word}' does not fit; give a pair such as {example}")
        if name in pairs:
            raise UserError(f"{option}: '{name}' is given twice; give it once")
        pairs[name] = value
    return pairs


def _settings(pairs: dict[str, str]) -> list[str]:
    for key in pairs:
        if key not in _SETTINGS:
            raise UserError(f"--set: {key} is not one of {', '.join(_SETTINGS)}")
    return [word for key, value in pairs.items() for word in (f"--{key}", value)]
