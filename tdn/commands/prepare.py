"""Make the lists of a published data set from the label files of its owner.

  tdn prepare ssv1 ROOT         Something-Something V1: something-something-v1-train.csv, ...
  tdn prepare ssv2 ROOT         Something-Something V2: labels.json, train.json, ...
  tdn prepare kinetics400 ROOT  Kinetics-400: train.csv, val.csv; videos <id>_<start>_<end>.mp4
  tdn prepare ucf101 ROOT       UCF101: ucfTrainTestlist/classInd.txt, trainlist01.txt, ...
  tdn prepare hmdb51 ROOT       HMDB51: testTrainMulti_7030_splits/<class>_test_split1.txt

ROOT holds the unpacked archives: videos, or folders of frames, at any depth. Label files lie there,
in labels/ or annotations/, or in the folder shown above.

Writes to data/<name>, where the recipes in configs/ look: classes.txt with the classes in the order
of the published networks, and train.txt, validation.txt (and test.txt) with the clips that are
there. The others are counted and named in missing.txt. The numbers of clips are compared with the
published ones. No video is opened: tdn index does that, and training. To test a network, Kinetics'
val.csv and its videos are enough.

Exit status: 0, or 1 if the label files have other numbers of classes or clips than were published;
the lists are written all the same.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

HELP = "make the lists of a published data set from its label files"

if TYPE_CHECKING:
    from tdn.pipelines.datasets.preparing import Prepared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "name",
        choices=("ssv1", "ssv2", "kinetics400", "ucf101", "hmdb51"),
        metavar="NAME",
        help="ssv1, ssv2, kinetics400, ucf101 or hmdb51",
    )
    parser.add_argument("root", metavar="ROOT", help="folder that holds the unpacked archives")
    parser.add_argument(
        "--labels", metavar="DIR", help="folder of the label files (ROOT, or one of those above)"
    )
    parser.add_argument(
        "--split", metavar="N", type=int, default=1, help="of UCF101 and HMDB51, 1 to 3 (1)"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder to write the lists to (data/NAME)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the lists and say what comes next."""
    from tdn.pipelines.datasets.preparing import prepare

    default = f"data/{arguments.name}"
    output = arguments.output or default
    prepared = prepare(
        arguments.name, arguments.root, output, split=arguments.split, labels=arguments.labels
    )
    print(prepared)
    as_in_recipe = output == default and arguments.split == 1
    print(f"next: {_next_command(prepared, arguments.root, as_in_recipe)}")
    return 0 if prepared.as_published else 1


def _next_command(prepared: Prepared, root: str, as_in_recipe: bool) -> str:
    parts = {part: prepared.parts.get(part) for part in ("train", "validation")}
    lists = {name: part.path for name, part in parts.items() if part is not None and part.there}
    config = ["--config", f"configs/{prepared.data.recipe}.yaml"]
    if "train" in lists:
        words = ["tdn", "train", *config]
    else:
        words = ["tdn", "evaluate", *config, "--checkpoint", "FILE"]
    words += ["--data.root", root]
    if not as_in_recipe:
        for name, path in lists.items():
            words += [f"--data.{name}_list", str(path)]
        words += ["--data.classes", str(prepared.classes)]
    return shlex.join(words)
