"""Write a small labelled video data set to train on, made on the spot; nothing is downloaded.

Photo-textured things move over photographs in 12 (or 16) ways that come in pairs: one class of a
pair is the other one mirrored or backwards in time, so that no single frame tells them apart.
Each clip is 176 x 132 pixels, 40 frames, 3.3 seconds, about 25 KB as VP9.

  tdn demo-data demo                          480 + 192 clips, 17 MB, about 20 s on two CPU cores
  tdn demo-data demo16 --classes 16 --codec h264 --seed 7
"""

from __future__ import annotations

import argparse

HELP = "write a small labelled video data set to train on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "folder",
        metavar="DIR",
        help="folder to write: train.txt, validation.txt, labels.txt, classes.json, "
        "flip_labels.yaml and videos/; called again, it keeps the clips that are finished",
    )
    parser.add_argument(
        "--classes",
        type=int,
        default=12,
        metavar="{12,16}",
        help="number of classes; 16 adds coming closer, going away, covering and uncovering "
        "(default 12)",
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=480,
        metavar="N",
        help="training clips, all classes together; classes take turns (default 480)",
    )
    parser.add_argument(
        "--validation-clips",
        type=int,
        default=192,
        metavar="N",
        help="validation clips, made of photographs that training never shows (default 192)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="0 or more; the same seed gives the same files (default 0)",
    )
    parser.add_argument(
        "--codec",
        default="vp9",
        metavar="{vp9,h264,mjpeg}",
        help="vp9 (.webm), h264 (.mp4) or mjpeg (.avi); DALI decodes h264 only where there is a "
        "GPU (default vp9)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that render and encode (default: one a CPU)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the data set and say where it is."""
    from tdn.pipelines.demo_data import write_demo_data

    data = write_demo_data(
        arguments.folder,
        classes=arguments.classes,
        clips=arguments.clips,
        validation_clips=arguments.validation_clips,
        seed=arguments.seed,
        codec=arguments.codec,
        workers=arguments.workers,
    )
    print(f"{data.train_clips} training clips    {data.train_list}")
    print(f"{data.validation_clips} validation clips  {data.validation_list}")
    print(f"{data.num_classes} classes           {data.labels}")
    print(f"labels under a flip  {data.flip_labels}")
    return 0
