"""Check and count every video of a data set once, and keep what was found in a manifest.

A data set is one of these, of videos and of folders of frames alike:

  tdn index train.txt -o m.arrow               lines "path label" or "path frames label"
  tdn index train.csv -o m.arrow               a header with columns such as path and label
  tdn index videos/train -o m.arrow            a folder for each class
  tdn index 'train-{000..031}.tar' -o m.arrow  tar shards: KEY.mp4 or KEY/00001.jpg, KEY.cls

Training does this by itself and caches the result; run it by hand to see beforehand what is
unusable, or to make a manifest that many machines share: a manifest can be given wherever a list
can, as data.train_list or data.validation_list.

A second run reads only files that are new or whose size or time of change differ, and one that was
interrupted goes on where it was. By default packets are counted and some frames are decoded; with
--decode all are, so that a file with damage in it is left out by name before training rather than
during it.
"""

from __future__ import annotations

import argparse

from tdn.commands.checks import check_least
from tdn.errors import UserError

HELP = "check and count the videos of a data set, once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "list", metavar="LIST", help="list, CSV file, folder of class folders, or tar shards"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="manifest to write or bring up to date",
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="folder that a list's paths are relative to (the list's own)",
    )
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="class names, one on each line, the first is label 0 (the data set's own, sorted)",
    )
    parser.add_argument(
        "--frame-template",
        metavar="NAME",
        default="",
        help="names of frames that are pictures, such as img_{:05d}.jpg (found out)",
    )
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decode every frame, to find all damage now; takes about ten times as long (the first "
        "frame and one every second)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, help="files read at once (one per CPU core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Index a data set; 0 if at least one of its videos is usable."""
    from tdn.pipelines.indexing.run import index_list
    from tdn.pipelines.sources.listing import read_class_names

    check_least("workers", arguments.workers)
    report = index_list(
        arguments.list,
        arguments.output,
        root=arguments.root,
        classes=read_class_names(arguments.classes) if arguments.classes else (),
        template=arguments.frame_template,
        decode=arguments.decode,
        workers=arguments.workers,
    )
    print(report)
    if not len(report.manifest.usable):
        raise UserError(f"{arguments.list}: no usable video; correct the paths or give --root")
    return 0
