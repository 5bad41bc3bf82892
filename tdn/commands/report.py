"""Write one page about a run: curves, speed, classes, examples, configuration, environment.

The page needs nothing but a browser: it loads nothing. What tdn evaluate wrote to the run folder is
on it, with activation maps of some mistakes and some successes, where the videos are still there.

  tdn report runs/mine                      writes runs/mine/report.html
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tdn.commands.checks import check_least, file_named

HELP = "write one page about a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("run", metavar="RUN", help="run folder of tdn train")
    parser.add_argument(
        "--output", metavar="FILE", help="page to write, .html (report.html in the run folder)"
    )
    parser.add_argument(
        "--examples", type=int, default=6, metavar="N", help="videos with activation maps (6)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where activation maps are computed: auto takes a GPU if there is one (auto)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    folder = Path(arguments.run)
    output = file_named("output", arguments.output or str(folder / "report.html"), ".html")
    check_least("examples", arguments.examples, 0)
    from tdn.report.page import write_report

    for problem in write_report(folder, output, arguments.examples, arguments.device):
        print(f"tdn report: {problem}", file=sys.stderr)
    print(output)
    return 0
