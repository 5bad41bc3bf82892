"""The options of commands that use a trained network."""

from __future__ import annotations

import argparse


def add_trained_options(parser: argparse.ArgumentParser) -> None:
    """Declare which network: ``--checkpoint``, ``--classes`` and ``--raw``."""
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="of this program, or a published one"
    )
    parser.add_argument(
        "--classes", default="", metavar="FILE", help="class names by label, a line each"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="take the weights of the last step, where training.ema has averaged ones too",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--device``."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute: auto takes a GPU if there is one (auto)",
    )
