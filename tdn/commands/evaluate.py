"""Test a checkpoint on the validation list: every video once, on any number of processes.

Writes to the run folder (--output): scores.npz with indices (row in the list), labels and scores
(videos, views, classes; logits); metrics.json with top1, top5 and mean_class_accuracy in percent,
by the mean over views of softmax; classes.csv, accuracy by class; and the confusion matrix as
confusion.csv and confusion.png. A video has one view, or as many as evaluation.clips times
evaluation.crops. Every score is the same on any number of processes.

SIGTERM, SIGUSR2 and Ctrl-C end it after a batch, with status 75; the same command goes on there.

  tdn evaluate --config runs/mine/config.yaml --checkpoint runs/mine/checkpoints/best.pt
  tdn evaluate --config k400.yaml --checkpoint k400.pt --output runs/k400 \\
    --evaluation.clips 10 --evaluation.crops 3
  torchrun --nproc-per-node gpu -m tdn evaluate --config configs/demo.yaml \\
    --checkpoint best.pt --data.validation_list test.txt --output runs/test
"""

from __future__ import annotations

import argparse

from tdn.commands.configuration import read_config

HELP = "test a checkpoint: scores of every video, top-1 and top-5"
CONFIGURED = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE",
        help="checkpoint to test: one of this program's, or a published one",
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="test the weights of the last step, where training.ema has averaged ones too",
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; 0 when scores and metrics are written."""
    config = read_config(arguments)
    from tdn.evaluation.evaluator import evaluate

    evaluate(config, arguments.checkpoint, raw=arguments.raw)
    return 0
