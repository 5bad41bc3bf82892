"""Show the whole product on data that it makes itself, in some minutes, on a GPU or a CPU.

Makes short videos of motions that come in pairs which a single frame cannot tell apart, trains a
small TDN and the same network without its temporal modules, and compares them: a table, a picture
of validation clips with predictions, and summary.json.

  tdn demo --config configs/demo.yaml --output runs/demo --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tdn.errors import UserError

HELP = "make video data, train TDN and a frame-only network, compare them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--config", metavar="FILE", required=True, help="configuration of the network to train"
    )
    parser.add_argument(
        "--output", metavar="DIR", default="runs/demo", help="folder for everything (runs/demo)"
    )
    parser.add_argument(
        "--seed", metavar="N", default="1", help="seed of the data and of both trainings (1)"
    )
    parser.add_argument(
        "--clips", metavar="N", type=int, default=480, help="training clips to make (480)"
    )
    parser.add_argument(
        "--validation-clips", metavar="N", type=int, default=192, help="validation clips (192)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration."""
    if not arguments.seed.isdecimal():
        raise UserError(f"--seed: '{arguments.seed}' does not fit; give a whole number from 0")
    from tdn.demo.run import run_demo

    run_demo(
        Path(arguments.config),
        Path(arguments.output),
        int(arguments.seed),
        arguments.clips,
        arguments.validation_clips,
    )
    return 0
