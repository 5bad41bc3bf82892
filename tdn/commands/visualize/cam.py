"""Draw where a network finds a class: Grad-CAM by segment, with and without temporal modules.

The rows of the picture are the centre frames of the segments, where the network finds the class,
where the same network does without its temporal modules (or the one that --baseline names, trained
without them, as in the paper's figure), and how strongly S-TDM and L-TDM respond. --video writes
all frames of the segments in slow motion, with all of these.

  tdn visualize cam video.mp4 --checkpoint runs/mine/checkpoints/best.pt
  tdn visualize cam video.mp4 --checkpoint runs/demo/tdn/checkpoints/best.pt \\
      --baseline runs/demo/tsn/checkpoints/best.pt --output cam.png --video cam.mp4
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tdn.commands.checks import check_least, file_named
from tdn.commands.configuration import read_config
from tdn.commands.trained_options import add_device_option, add_trained_options
from tdn.errors import UserError
from tdn.files import check_not_an_input

HELP = "draw where a network finds a class in a video"
CONFIGURED = "optional"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("video", metavar="VIDEO", help="video, or folder of frames")
    add_trained_options(parser)
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="checkpoint of a network without temporal modules to compare with (the same weights "
        "without these modules)",
    )
    parser.add_argument(
        "--label", metavar="CLASS", help="class to look for, by name or number (the predicted one)"
    )
    parser.add_argument(
        "--layer",
        choices=("stage1", "stage2", "stage3", "stage4"),
        default="stage4",
        help="features to look into: earlier ones are finer and know less (stage4)",
    )
    parser.add_argument(
        "--output", default="cam.png", metavar="FILE", help="PNG to write (cam.png)"
    )
    parser.add_argument("--video", dest="movie", metavar="FILE", help="also write this .mp4")
    parser.add_argument(
        "--side",
        type=int,
        default=160,
        metavar="N",
        help="longest side of a drawn frame, pixels (160)",
    )
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print what was written."""
    output = file_named("output", arguments.output, ".png")
    movie = file_named("video", arguments.movie, ".mp4") if arguments.movie else None
    check_least("side", arguments.side, 16)
    for path in filter(None, (output, movie)):
        check_not_an_input(path, [arguments.video])
    config = read_config(arguments) if arguments.config else None
    from tdn.drawing import save_png
    from tdn.visualization.cam_sheet import cam_sheet, save_cam_video
    from tdn.visualization.explanation import Explainer

    explainer = Explainer(
        arguments.checkpoint,
        config,
        baseline=arguments.baseline,
        raw=arguments.raw,
        classes=arguments.classes,
        device=arguments.device,
    )
    given = arguments.label
    label = None if given is None else _label(given, explainer.classes)
    found = explainer(arguments.video, label, arguments.layer)
    rows = (*found.maps, *found.responses)
    save_png(cam_sheet(found.frames, found.seconds, rows, arguments.side), output)
    print(output)
    if movie is not None:
        save_cam_video(found.frames, found.seconds, rows, movie)
        print(movie)
    return 0


def _label(given: str, classes: Sequence[str]) -> int:
    """The class of a name or number; of a number that is also a name, the class of that name."""
    if given in classes:
        return classes.index(given)
    if given.isascii() and given.isdecimal() and int(given) < len(classes):
        return int(given)
    raise UserError(
        f"--label: '{given}' does not fit; give one of the {len(classes)} class names, or a number "
        f"from 0 to {len(classes) - 1}"
    )
