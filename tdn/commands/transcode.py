"""Make a copy of a data set that trains faster: smaller pictures, easier to decode.

The copy has the same clips, labels and order, and every frame under its number; clips are upright,
at most --short-side high or wide, never enlarged. Beside the clips in DIR lies their list, named
like the original's; give it to training as data.train_list or data.validation_list. What cannot be
decoded is named and left out.

Start it again to go on after an interruption or to bring the copy up to date: only what is missing,
or whose original has another size or time of change, is made.

  tdn transcode train.txt -o fast                   fast/train.txt and fast/train/...
  tdn transcode train.txt -o fast --format jpeg --shards 1000 --measure

What was measured with VP9 clips of 320 x 240 pixels, 8 random segments each, on 2 CPU cores that
did other work, too: CPU time per clip, and the copy's size against its original's.

                     60 frames   300 frames   bytes   against the same clips
  originals             24 ms        61 ms       1    key frames every 128
  h264 --gop 1          27 ms        28 ms       9
  h264 --gop 4          23 ms        28 ms       4
  h264 --gop 8          20 ms        27 ms       3    the default
  h264 --gop 16         17 ms        43 ms     2.6
  vp9 --gop 8           32 ms        47 ms       3
  mjpeg                 21 ms        27 ms      14
  jpeg                  18 ms        17 ms      14
"""

from __future__ import annotations

import argparse

from tdn.commands.checks import check_least

HELP = "make a copy of a data set that trains faster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "list",
        metavar="LIST",
        help="the originals: a list, a CSV file, a folder per class, tar shards or a manifest",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="folder to write to; copies of several lists can share it",
    )
    _describe_copies(parser)
    parser.add_argument(
        "--root",
        default="",
        metavar="DIR",
        help="folder that the list's paths are relative to (the list's own)",
    )
    parser.add_argument(
        "--classes",
        default="",
        metavar="FILE",
        help="class names by label, a line each, for lists that give names (as data.classes)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, help="clips made at once (one per CPU core)"
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="then decode random segments from both, in turns, through the training pipeline, and "
        "print what each costs (half a minute)",
    )


def _describe_copies(parser: argparse.ArgumentParser) -> None:
    """Options of what each copy is."""
    parser.add_argument(
        "--format",
        default="h264",
        metavar="{h264,vp9,mjpeg,jpeg}",
        help="h264 (.mp4) is quick to decode and small, and every NVDEC takes it; vp9 (.webm) is "
        "as small, but slower; mjpeg (.mkv) is large; jpeg, a folder of frames for each clip, is "
        "large and the quickest: only the frames that are wanted are read, and of them only the "
        "crop is decoded (default h264)",
    )
    parser.add_argument(
        "--short-side",
        type=int,
        default=256,
        metavar="S",
        help="largest shorter side, pixels, even: 256 leaves room for the random crops of 224, and "
        "is what validation resizes to (default 256)",
    )
    parser.add_argument(
        "--gop",
        type=int,
        metavar="N",
        help="h264, vp9: frames from one key frame to the next, 1 for key frames only. Of videos "
        "much longer than their segments only the groups that hold wanted frames are decoded, so "
        "long groups decode too much; key frames are large, so short ones are slow as well "
        "(default 8)",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="CLIPS",
        help="write tar shards in WebDataset's layout, of so many clips each, instead of files; "
        "for object stores and parallel file systems, which are slow with many small files",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the copy; 0 if at least one clip is usable."""
    from tdn.pipelines.sources.listing import read_class_names
    from tdn.pipelines.transcoding.encoding import ALL_INTRA
    from tdn.pipelines.transcoding.run import transcode
    from tdn.pipelines.transcoding.settings import GOP, CopySettings

    for option in ("workers", "shards"):
        check_least(option, getattr(arguments, option))
    usual = 1 if arguments.format in ALL_INTRA else GOP
    gop = usual if arguments.gop is None else arguments.gop
    settings = CopySettings(arguments.format, arguments.short_side, gop, arguments.shards or 0)
    report = transcode(
        arguments.list,
        arguments.output,
        settings,
        root=arguments.root,
        classes=read_class_names(arguments.classes) if arguments.classes else (),
        workers=arguments.workers,
    )
    print(report)
    if arguments.measure:
        from tdn.pipelines.transcoding.measuring import compare

        print(compare(report))
    return 0
