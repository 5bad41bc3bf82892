"""Draw a batch as the network is fed it: every frame of every clip, after crop, resize and flip.

A clip is a row: its label and file, what was done to its frames, and then its segments, five frames
each, the centre frame framed, with their numbers in the video. Class names are the list's, those of
data.classes, or of a file labels.txt beside the list. The pixels are the loader's,
not decoded a second time, and the batch is the one that training takes at that epoch and step (on
one process).

  tdn visualize batch --config configs/demo.yaml --data.train_list train.txt \\
      --data.validation_list validation.txt --step 3 --output batch.png
"""

from __future__ import annotations

import argparse

from tdn.commands.checks import check_least, file_named
from tdn.commands.configuration import read_config

HELP = "draw a batch as the network is fed it"
CONFIGURED = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        default="train",
        help="training clips, augmented; validation clips; or the clips and crops of tdn evaluate "
        "(train)",
    )
    parser.add_argument(
        "--epoch", type=int, default=0, metavar="N", help="epoch of training, from 0 (0)"
    )
    parser.add_argument(
        "--step", type=int, default=0, metavar="N", help="step of the epoch, from 0 (0)"
    )
    parser.add_argument(
        "--output", default="batch.png", metavar="FILE", help="PNG to write (batch.png)"
    )
    parser.add_argument(
        "--clips", type=int, metavar="N", help="draw only the first N clips of the batch"
    )
    parser.add_argument(
        "--side",
        type=int,
        default=112,
        metavar="N",
        help="longest side of a drawn frame, pixels; larger ones are reduced by 2, 3, ... (112)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the batch and print the picture's path."""
    for option, least in (("epoch", 0), ("step", 0), ("clips", 1), ("side", 16)):
        check_least(option, getattr(arguments, option), least)
    output = file_named("output", arguments.output, ".png")
    config = read_config(arguments)
    from tdn.drawing import save_png
    from tdn.visualization.batch import draw_batch

    picture = draw_batch(
        config,
        arguments.split,
        epoch=arguments.epoch,
        step=arguments.step,
        clips=arguments.clips,
        side=arguments.side,
    )
    save_png(picture, output)
    print(output)
    return 0
