"""Say what happens in videos, with a trained network.

A video is a file of any kind that FFmpeg decodes, or a folder of numbered pictures; of any other
folder, all videos below it are taken. Without --window the whole video is predicted, by the test
protocol that the network was trained for; with it, window by window, with times, and the video's
own line is the mean.

  tdn predict video.mp4 --checkpoint runs/mine/checkpoints/best.pt
  tdn predict videos/ --checkpoint best.pt --window 4 --every 1 --json > predictions.json
  tdn predict video.mp4 --checkpoint best.pt --window 2 --overlay shown.mp4

Checkpoints of this program hold their configuration and class names. For a published one give the
recipe with --config, and the names with --classes.

Exit status 0 if every video was predicted, 1 if one could not be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tdn.commands.checks import check_least
from tdn.commands.configuration import read_config
from tdn.commands.trained_options import add_device_option, add_trained_options

if TYPE_CHECKING:
    from tdn.prediction.results import Guess, VideoPrediction

HELP = "say what happens in videos"
CONFIGURED = "optional"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video, or folder")
    add_trained_options(parser)
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show (5)")
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="predict windows of this length"
    )
    parser.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="from one window to the next (half a window, at least a frame)",
    )
    parser.add_argument(
        "--clips", type=int, metavar="N", help="clips per window (as tested: evaluation.clips)"
    )
    parser.add_argument(
        "--crops",
        type=int,
        metavar="N",
        help="crops per clip: 1, 3, 5 or 10 (as tested: evaluation.crops)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--overlay",
        metavar="FILE",
        help="also write an .mp4 with the classes on its frames; of several videos, a folder, in "
        "which nothing is overwritten",
    )
    add_device_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict, print, draw; 0 if every video was predicted."""
    check_least("top", arguments.top)
    config = read_config(arguments) if arguments.config else None
    from tdn.prediction.overlay import overlay_paths, write_overlay
    from tdn.prediction.predictor import Predictor
    from tdn.prediction.videos import find_videos

    videos = find_videos(arguments.videos)
    drawn = overlay_paths(arguments.overlay, videos) if arguments.overlay else []
    predictor = Predictor(
        arguments.checkpoint,
        config,
        device=arguments.device,
        clips=arguments.clips,
        crops=arguments.crops,
        classes=arguments.classes,
        raw=arguments.raw,
    )
    found = predictor(videos, window=arguments.window, every=arguments.every, progress=True)
    if arguments.json:
        print(json.dumps([video.as_dict(arguments.top) for video in found], indent=2))
    for video in found:
        if video.problem:
            print(f"tdn predict: {video.path}: {video.problem}", file=sys.stderr)
        elif not arguments.json:
            print(_described(video, arguments.top))
    for video, output in zip(found, drawn, strict=False):  # none, where none are asked for
        if not video.problem:
            left_out = write_overlay(video, output, arguments.top)
            if left_out:
                print(f"tdn predict: {output}: without {left_out}", file=sys.stderr)
            if not arguments.json:
                print(output)
    return int(any(video.problem for video in found))


def _described(video: VideoPrediction, top: int) -> str:
    """A video's lines."""
    lines = [f"{video.path} ({video.seconds:.1f} s)"]
    if len(video.windows) > 1:
        lines += [
            f"  {window.start:7.2f} - {window.end:7.2f} s  "
            + _in_a_row(video.top(min(top, 3), window.probabilities))
            for window in video.windows
        ]
    lines += [f"  {100 * guess.probability:5.1f} %  {guess.name}" for guess in video.top(top)]
    return "\n".join(lines)


def _in_a_row(guesses: Sequence[Guess]) -> str:
    return ", ".join(f"{guess.name} {100 * guess.probability:.0f} %" for guess in guesses)
