"""Check and count every video of a list once, and keep what was found in a manifest.

Training does this by itself and caches the result; run it by hand to see beforehand what is
unusable, or to make a manifest that many machines share: a manifest can be given wherever a list
can, as data.train_list or data.validation_list.

A second run reads only files that are new or whose size or time of change differ. By default their
packets are counted and some frames are decoded; with --decode all are, so that a file with damage
in it is left out by name before training rather than during it.

  tdn index train.txt -o train.arrow
"""

from __future__ import annotations

import argparse

from tdn.errors import UserError

HELP = "check and count the videos of a list, once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "list", metavar="LIST", help="text file of 'path label' or 'path frames label' lines"
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
        help="folder that the list's paths are relative to (the list's own)",
    )
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decode every frame of every video, to find all damage now; takes about ten times "
        "as long (first frame and one every second)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, help="files read at once (one per CPU core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Index a list; 0 if at least one of its videos is usable."""
    from tdn.pipelines.indexing import index_list

    if arguments.workers is not None and arguments.workers < 1:
        raise UserError(f"--workers: {arguments.workers} does not fit; give a whole number from 1")
    report = index_list(
        arguments.list,
        arguments.output,
        root=arguments.root,
        decode=arguments.decode,
        workers=arguments.workers,
    )
    print(report)
    if not len(report.manifest.usable):
        raise UserError(f"{arguments.list}: no usable video; correct the paths or give --root")
    return 0
