"""Put the scores of several networks together, such as the published "8+16 frames".

  tdn ensemble runs/ssv2_r101_8f runs/ssv2_r101_16f --output runs/ssv2_r101_8+16f

Each SCORES is a scores.npz of tdn evaluate, or the folder that holds it; all must be of the same
list. Prints the accuracy of each, and of all together by two rules:

  published  the released code's, behind the published numbers: max(logit, 0), averaged over a
             network's views, is added up over networks
  softmax    the mean over networks and views of softmax

Writes to --output: metrics.json with both, and scores.npz with the scores by --rule (one view).
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "put the scores of several networks together"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "scores", nargs="+", metavar="SCORES", help="scores.npz of an evaluation, or its folder"
    )
    parser.add_argument(
        "--rule",
        choices=("published", "softmax"),
        default="published",
        help="which scores, top1 and top5 to write (published)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="runs/ensemble",
        help="folder to write to (runs/ensemble)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Put the scores together and print the accuracies."""
    from tdn.evaluation.ensemble import write_ensemble

    metrics = write_ensemble(arguments.scores, Path(arguments.output), arguments.rule)
    rows = [(member["scores"], member) for member in metrics["members"]]
    rows += [(f"together, {rule}", found) for rule, found in metrics["rules"].items()]
    width = max(len(name) for name, _ in rows)
    for name, found in rows:
        print(f"{name:<{width}}  top-1 {found['top1']:6.2f} %  top-5 {found['top5']:6.2f} %")
    print(f"{metrics['videos']} videos; scores in {Path(arguments.output) / 'scores.npz'}")
    return 0
